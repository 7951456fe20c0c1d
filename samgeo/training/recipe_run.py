"""Training by a recipe: read the pictures, train a network or a finder, and write its weights."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from samgeo.arguments import check_types
from samgeo.errors import OptionError
from samgeo.finding.finder import save_finder
from samgeo.models.device import check_threads, resolve_device
from samgeo.models.registry import load_model
from samgeo.storage.atomic import check_new
from samgeo.storage.run_folder import differences, listed, read_json, write_json
from samgeo.training.applied_preset import AppliedPreset, apply_preset
from samgeo.training.assessment.plots import check_plot, plot_log
from samgeo.training.data.examples import Source
from samgeo.training.finder.options import FinderTraining
from samgeo.training.finder.run import head_config, train_finder
from samgeo.training.loop import TrainOptions, train_locked
from samgeo.training.network_kinds import NetworkToTrain, TrainableNetwork, output_suffix, starting_network
from samgeo.training.recipe import Recipe, load_recipe, needed, preset_blocks
from samgeo.training.run_folder import LOG, locked

if TYPE_CHECKING:
    import torch

    from samgeo.training.presets import PresetOptions

__all__ = ["IDENTITY", "Trained", "identify", "log_line", "run_recipe", "sources_digest"]

IDENTITY = "run.json"
# Number of objects that are prompted in a crop of SAM 1 or SAM 2, unless the recipe says it.
SAM_PROMPTS = 12


@dataclass(frozen=True, slots=True)
class Trained:
    """Result of a training run.

    Attributes
    ----------
    output : Path
        The file with the weights.
    folder : Path
        The run folder, with the state and the log.
    digest : str
        SHA-256 of the file with the weights.
    steps : int
        Number of steps that were taken in all.
    """

    output: Path
    folder: Path
    digest: str
    steps: int


@check_types
def run_recipe(
    recipe: str | Path,
    output: str | Path,
    *,
    start: str | Path | None = None,
    folder: str | Path | None = None,
    data: str | Path | None = None,
    steps: int | None = None,
    minutes: float | None = None,
    network: str | None = None,
    preset: str | None = None,
    device: str | torch.device = "auto",
    threads: int | None = None,
    curve: str | Path | None = None,
    overwrite: bool = False,
    report: Callable[[str], None] | None = None,
) -> Trained:
    """Train a model by a recipe, or continue a run that was stopped.

    A call with the same arguments as before continues the run in its folder.

    Parameters
    ----------
    recipe : str or Path
        See `samgeo.training.recipe.load_recipe`.
    output : str or Path
        The weights to write: a ``.safetensors`` that ``samgeo.load_model`` reads, or a finder if the recipe has a table
        ``[finder]``. Weights of the bundled model's architecture are in half precision. Weights of SAM 1 have the official
        names and may also be a ``.pth``, which the package ``segment_anything`` reads too. Weights of SAM 2 have the official
        names, without the memory for videos.
    start : str or Path, optional
        Weights to start from: a file, "tiny" for the packaged ones, "none" for random ones, or the name of a model of SAM 1 or
        SAM 2. The default is the start that the recipe names. For a finder, it is the model on whose features the finder is
        trained.
    folder : str or Path, optional
        The run folder. It holds the state, ``log.jsonl`` and a digest of the training data. The default is ``NAME.run`` beside
        the output.
    data : str or Path, optional
        The folder with the open data sets, for a recipe that uses them.
    steps : int, optional
        Number of steps, in place of the recipe's.
    minutes : float, optional
        Length of the training in minutes, in place of the recipe's. Training then ends after this time; ``steps`` is the
        largest number of steps. A finder cannot be trained by the clock.
    network : str, optional
        Preset for the number of blocks in the image encoder, in place of the recipe's: "base" (as the packaged weights),
        "deep", "deeper" or "context"; see `samgeo.models.tiny.PRESETS`. If the starting network has fewer blocks, new blocks
        are added. A new block does not change the output until it is trained.
    preset : str, optional
        What is trained, in place of the preset that ``[train]`` names, if there is any: a key of
        `samgeo.training.TRAINING_PRESETS`. Other keys of ``[train]`` stay as they are.
    device : str, default "auto"
        "cpu", "cuda", "mps", or the first of CUDA, MPS and CPU that this machine has.
    threads : int, optional
        Number of threads that torch uses on a CPU. The last digits of the result depend on this number, so it is stored with
        the run. The default is torch's own number for a new run, and the stored number for a continued run.
    curve : str or Path, optional
        A PNG file. At the end, the log is drawn into it.
    overwrite : bool, default False
        Whether existing files may be replaced by ``output`` and ``curve``.
    report : callable, optional
        Called with lines of text that tell the progress.

    Returns
    -------
    Trained

    Raises
    ------
    OptionError
        If the recipe, an argument or an output cannot be used; if the folder belongs to another run; or if the disk is full.
    CheckpointError
        If the weights to start from cannot be read, or the state in the folder is damaged or was made with other options.
    RunError
        If another process trains in the folder.
    SamgeoError
        If images or labels cannot be read.
    """
    say = report or (lambda _: None)
    check_threads(threads)
    plan = load_recipe(recipe, preset=preset)
    given = (recipe, start, plan.path, plan.start)
    suffix = ".safetensors" if plan.finder is not None else output_suffix(output)
    path = check_new(output, suffix, overwrite=overwrite, inputs=given)
    if curve is not None:
        check_plot(curve, overwrite=overwrite)
    home, where = path.with_suffix(".run") if folder is None else Path(folder), resolve_device(device)
    place = None if data is None else Path(data)
    if any(planned.labels is None for planned in plan.sources):
        needed(plan.path, place)
    begin = str(start or plan.start)
    changed = {name: value for name, value in {"steps": steps, "minutes": minutes}.items() if value is not None}
    call = _Call(plan, begin, path, home, place, where, threads, overwrite, say)
    if plan.finder is not None:
        if minutes is not None or network is not None:
            raise OptionError("a finder is trained for its steps and does not change the model; leave minutes and network out.")
        digest, taken = _run_finder(call, dataclasses.replace(plan.finder, **changed))  # type: ignore[arg-type]  # as below
    else:
        blocks = plan.network if network is None else preset_blocks(network)
        options = dataclasses.replace(cast(TrainOptions, plan.options), **changed)  # type: ignore[arg-type]  # it checks them
        digest, taken = _run_model(call, options, blocks)
    if curve is not None:
        plot_log(home / LOG, curve, overwrite=overwrite)
    return Trained(path, home, digest, taken)


@dataclass(frozen=True, slots=True)
class _Call:
    """The checked arguments of a training that models and finders share."""

    plan: Recipe
    start: str
    output: Path
    home: Path
    data: Path | None
    device: torch.device
    threads: int | None
    overwrite: bool
    say: Callable[[str], None]


def _run_model(call: _Call, options: TrainOptions, blocks: Mapping[str, tuple[int, ...]]) -> tuple[str, int]:
    """Train a model and write it; return the SHA-256 of the file and the number of steps."""
    start = starting_network(call.start, blocks, options.seed)
    trained = start.trained
    applied = _with_preset(trained.network, call.plan.preset, options.seed)
    options = _fitting(options, trained, applied, call.plan.given)
    options.check_window(trained.window_px)
    check_new(call.output, trained.suffix(call.output), overwrite=call.overwrite)
    with locked(call.home):
        sources = _read(call.plan, call.data, call.say)
        identity = {"start": start.origin, "pictures": sources_digest(sources)}
        if call.plan.preset is not None:
            identity["preset"] = json.dumps(dataclasses.asdict(call.plan.preset))
        computed = identify(call.home / IDENTITY, identity, call.threads, str(call.device), call.say)
        result = train_locked(
            trained.network,
            sources,
            call.home,
            options,
            window_px=trained.window_px,
            device=call.device,
            threads=computed,
            report=lambda line: call.say(log_line(line, options)),
            loaders=os.cpu_count() or 1,
        )
        weights = result.weights if applied is None else applied.merge(result.weights)
        return trained.save(weights, call.output, overwrite=call.overwrite), result.steps


def _with_preset(network: TrainableNetwork, chosen: PresetOptions | None, seed: int) -> AppliedPreset | None:
    if chosen is None:
        return None
    return apply_preset(network, chosen.preset, rank=chosen.rank, targets=chosen.targets, train_iou=chosen.train_iou, seed=seed)


def _fitting(
    options: TrainOptions, trained: NetworkToTrain, applied: AppliedPreset | None, given: frozenset[str]
) -> TrainOptions:
    """Return the options with the rates of the preset, and for SAM with its own defaults of what the recipe does not give."""
    changes: dict[str, Any] = {} if applied is None else {"rates": applied.rates}
    if trained.whole_windows:
        if "crops" not in given:
            changes["crops"] = ((trained.window_px, SAM_PROMPTS, 1.0),)
        if "images" not in given:
            changes["images"] = 1
        if "cached_crops" not in given and applied is not None and not options.draw_on_device:
            changes["cached_crops"] = applied.cached_crops
    return dataclasses.replace(options, **changes)


def _run_finder(call: _Call, options: FinderTraining) -> tuple[str, int]:
    """Train a finder and write it; return the SHA-256 of the file and the number of steps."""
    model = load_model(call.start, device=call.device, dtype="float32")
    head_config(model, options)
    with locked(call.home):
        sources = _read(call.plan, call.data, call.say)
        identity = {"start": model.digest, "pictures": sources_digest(sources), "finder": options.identity()}
        computed = identify(call.home / IDENTITY, identity, call.threads, str(call.device), call.say)
        parts = train_finder(model, sources, options, call.home, threads=computed, report=call.say)
        digest = save_finder(call.output, parts.head, parts.scorer, parts.info, overwrite=call.overwrite)
        call.say(f"finds {', '.join(parts.info.classes)} with scores of {parts.info.min_score:.2f} or more")
        return digest, options.steps


def _read(recipe: Recipe, data: Path | None, say: Callable[[str], None]) -> list[Source]:
    say("reading pictures; the open data sets take some minutes" if data else "reading pictures")
    sources = []
    for source in recipe.read(data):
        learned = [ids for picture in source.pictures for name, ids in picture.layers.items() if name in source.layers]
        objects = sum(int(ids.max()) for ids in learned)
        say(f"{source.name}: {len(source.pictures):,} pictures with {objects:,} objects")
        sources.append(source)
    return sources


def sources_digest(sources: Sequence[Source]) -> str:
    """Return a digest of all sources: pictures, layers and sampling options."""
    total = hashlib.sha256()
    for source in sources:
        layers = [(name, layer.share, layer.trust) for name, layer in source.layers.items()]
        total.update(json.dumps([source.name, source.weight, source.scales, layers]).encode())
        for picture in source.pictures:
            total.update(json.dumps([picture.shape, list(picture.layers)]).encode())
            total.update(picture.image.tobytes())
            for ids in picture.layers.values():
                total.update(ids.tobytes())
    return total.hexdigest()


def identify(path: Path, identity: dict[str, Any], threads: int | None, device: str, say: Callable[[str], None]) -> int:
    """Record the identity of a new run, or check that a continued run has the same identity; return the number of threads.

    The identity consists of digests of the starting weights and the pictures, and the options of a finder. The device and the
    version of torch may change.
    Such a change is reported, because the last digits of the result depend on them too.
    """
    import torch

    here: dict[str, Any] = {"threads": threads or torch.get_num_threads(), "device": device, "torch": torch.__version__}
    if not path.exists():
        write_json(path, identity | here)
        return int(here["threads"])
    try:
        before = read_json(path)
    except (OSError, ValueError) as error:
        raise OptionError(f"{path} cannot be read ({error}); give another folder.") from None
    if changed := differences({what: before.get(what) for what in identity}, identity):
        raise OptionError(
            f"{path.parent} was started with other inputs: {listed(changed)}. Give another folder (--folder) to start a "
            "new run, or give what the run was started with."
        )
    begun = before.get("threads", here["threads"])
    if threads not in {None, begun}:
        raise OptionError(
            f"{path.parent} was started with {begun} threads, and the result depends on their number; give threads={begun} or "
            "omit threads (--threads) to continue, or give another folder (--folder)."
        )
    if begun != here["threads"]:
        say(f"computing in {begun} threads, as the run was begun")
    for what in ("device", "torch"):
        if before.get(what, here[what]) != here[what]:
            say(f"begun with {what} {before[what]} and continued with {here[what]}: last digits of the result may differ")
    return int(begun)


def log_line(line: dict[str, float], options: TrainOptions) -> str:
    """Return a line of the log as text for users."""
    told = ", ".join(f"{key.replace('_', ' ')} {value:.3f}" for key, value in line.items() if key not in {"step", "rate"})
    end = f"{options.steps:,}" if options.minutes is None else f"{options.minutes:g} minutes"
    return f"step {int(line['step']):,} of {end}: {told}"
