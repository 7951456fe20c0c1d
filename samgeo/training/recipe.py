"""Reading and checking of training recipes: TOML files that say what to train on and how.

docs/training.md describes the format.
"""

from __future__ import annotations

import glob
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from samgeo.arguments import check_types
from samgeo.errors import OptionError
from samgeo.models.registry import list_models
from samgeo.models.tiny.presets import network_preset
from samgeo.training.data import overhead_recipe as overhead
from samgeo.training.data.examples import Layer, Source
from samgeo.training.data.labels import ClassMaps, Coco, Images, Labels, Regions, Scenes, Vectors
from samgeo.training.data.pictures import SCENE_LAYERS, Picture
from samgeo.training.data.pseudo_labels import LAYERS, felzenszwalb
from samgeo.training.finder.options import FinderTraining
from samgeo.training.loop import TrainOptions
from samgeo.training.network_kinds import start_names
from samgeo.training.presets import PresetOptions, with_preset
from samgeo.training.toml_tables import Table, TypeForm, fill

__all__ = ["Planned", "Recipe", "load_recipe", "preset_blocks"]

# A table has exactly one of these keys; the key names the kind of the labels.
KINDS = ("vectors", "coco", "masks", "scenes", "pseudo", "open_data")
MIN_AREA_PX = 24
# The key "layers" of a source: names, or names with shares.
Layers: TypeForm = tuple[str, ...] | Mapping[str, float | Layer] | None
# Kinds of additional blocks in the image encoder, with the number of strides that have a count of them. A "preset" sets both.
BLOCKS = {"attend": 2, "deepen": 3}


@dataclass(frozen=True, slots=True)
class Planned:
    """A ``[[source]]`` or ``[[validation]]`` table that was checked; its pictures are not read yet.

    Attributes
    ----------
    name : str
    labels : Labels or None
        None for the open data sets of `samgeo.training.data.overhead_recipe`.
    weight : float
        How often crops are drawn from this source, relative to the other sources.
    scales : (float, float)
        Smallest and largest factor by which images are enlarged.
    layers : mapping of str to Layer
        How each layer of objects is used.
    """

    name: str
    labels: Labels | None
    weight: float
    scales: tuple[float, float]
    layers: Mapping[str, Layer]

    @check_types
    def read(self, *, empty: bool = False) -> list[Picture]:
        """Read the pictures.

        Parameters
        ----------
        empty : bool, default False
            Whether pictures without any object are returned too. They are background for a finder.

        Raises
        ------
        OptionError
            If no picture has an object of some layer.
        SamgeoError
            If an image or a label file cannot be read.
        """
        if self.labels is None:
            raise OptionError(
                f"{self.name} stands for the open data sets; read them with samgeo.training.data.overhead_recipe."
            )
        pictures = list(self.labels.pictures())
        for layer in self.layers:
            if not any(layer in picture.layers and picture.layers[layer].any() for picture in pictures):
                raise OptionError(
                    f"{self.name}: layer {layer!r} has no object in {len(pictures)} images; check that the labels lie on the "
                    "images and belong to this layer, and min_area_px."
                )
        return [picture for picture in pictures if empty or any(picture.layers[layer].any() for layer in self.layers)]


@dataclass(frozen=True, slots=True)
class Recipe:
    """A recipe whose keys and values were checked.

    Attributes
    ----------
    path : Path
    start : str
        The weights to start from: a path, "tiny" for the packaged weights, "none" for random weights, or the name of a model of
        SAM 1 or SAM 2. For a finder it is the model on whose features it is trained: a path or a name of `samgeo.list_models`.
    network : mapping of str to tuple of int
        ``attend`` and ``deepen``: how many blocks of each kind the trained image encoder has. The network that training starts
        from may have fewer.
    options : TrainOptions or None
        None for a finder.
    sources, validation : tuple of Planned
    finder : FinderTraining, optional
        The options of a finder. By default, the recipe trains a model.
    preset : PresetOptions, optional
        The preset that decides what is trained. By default ``options.rates`` decide.
    given : frozenset of str
        The keys of ``[train]`` in the file.
    """

    path: Path
    start: str
    network: Mapping[str, tuple[int, ...]]
    options: TrainOptions | None
    sources: tuple[Planned, ...]
    validation: tuple[Planned, ...]
    finder: FinderTraining | None = None
    preset: PresetOptions | None = None
    given: frozenset[str] = frozenset()

    @check_types
    def read(self, data: Path | None = None) -> Iterator[Source]:
        """Read the pictures of all training sources.

        Parameters
        ----------
        data : Path, optional
            The folder with the open data sets, for a recipe that uses them.

        Raises
        ------
        SamgeoError
            If an image or a label file is missing or cannot be read.
        """
        for planned in self.sources:
            if planned.labels is None:
                folder = needed(self.path, data)
                open_sources = overhead.sources(folder) if self.finder is None else overhead.finder_sources(folder)
                for source in open_sources:
                    yield replace(source, weight=source.weight * planned.weight)
            else:
                pictures = planned.read(empty=self.finder is not None)
                yield Source(planned.name, pictures, planned.weight, planned.layers, planned.scales)


def needed(recipe: Path, data: Path | None) -> Path:
    """Return the folder of the open data sets.

    Raises
    ------
    OptionError
        If no folder is given, or it does not exist.
    """
    if data is None:
        raise OptionError(f"{recipe} uses the open data sets; give their folder as data (--data).")
    if not data.is_dir():
        raise OptionError(f"{data} is not a folder; give the folder with the open data sets as data (--data).")
    return data


@check_types
def load_recipe(recipe: str | Path, *, preset: str | None = None) -> Recipe:
    """Read and check a recipe.

    Parameters
    ----------
    recipe : str or Path
        A TOML file, "overhead": the recipe of the bundled model, or "building": the recipe of the bundled finder.
    preset : str, optional
        Name of a preset, in place of the one in ``[train]``, if there is any.

    Returns
    -------
    Recipe

    Raises
    ------
    OptionError
        If the file does not exist or is not TOML; if keys are unknown, missing or wrong; or if it names missing files.

    Examples
    --------
    >>> from samgeo.training import load_recipe
    >>> type(load_recipe("overhead")).__name__
    'Recipe'
    """
    path = Path(recipe)
    packaged = files("samgeo.training") / "recipes" / f"{recipe}.toml"
    if not path.is_file():
        known = sorted(Path(entry.name).stem for entry in (files("samgeo.training") / "recipes").iterdir())
        if str(recipe) not in known:
            raise OptionError(f"{path} is not a recipe; give a TOML file, or one of {', '.join(known)}.")
    try:
        text = path.read_text(encoding="utf-8") if path.is_file() else packaged.read_text(encoding="utf-8")
        table = Table(tomllib.loads(text), path.name)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise OptionError(f"{path} cannot be read as TOML ({error}); correct the file.") from None
    finder = _finder(table, path) if "finder" in table else None
    trained = table.take("train", Mapping[str, Any], {})
    if preset is not None:
        if finder is not None:
            raise OptionError(f"{path.name} trains a finder, which has no presets; leave preset (--preset) out.")
        trained = {**trained, "preset": preset}
    chosen, values = with_preset(trained, f"{path.name}, [train]")
    options = fill(TrainOptions, values, f"{path.name}, [train]") if finder is None else None
    start = _start(table, path, finder=finder is not None)
    network = _network(Table(table.take("network", Mapping[str, Any], {}), f"{path.name}, [network]"))
    sources = tuple(_planned(values, path, f"[[source]] {number}") for number, values in table.tables("source"))
    validation = tuple(
        _planned(values, path, f"[[validation]] {number}", judged=True) for number, values in table.tables("validation")
    )
    table.done()
    if not sources:
        raise OptionError(f"{path} has no [[source]]; add one with images and labels to train on.")
    for group in (sources, validation):
        names = [planned.name for planned in group]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise OptionError(f"{path.name} has two tables named {twice[0]!r}; give each table its own name.")
    if finder is not None:
        sources = _learned(sources, finder.classes, path)
    return Recipe(path, start, network, options, sources, validation, finder, chosen, frozenset(trained))


def _finder(table: Table, path: Path) -> FinderTraining:
    for other in ("train", "network"):
        if other in table:
            raise OptionError(
                f"{path.name} has [finder] and [{other}]; a recipe trains either a model, or a finder on the features of a "
                "model, so remove one of them."
            )
    return fill(FinderTraining, table.take("finder", Mapping[str, Any]), f"{path.name}, [finder]")


def _start(table: Table, path: Path, *, finder: bool) -> str:
    start: str = table.take("start", str, "tiny")
    if finder and start == "none":
        raise OptionError(f"{path.name}: start is 'none', and a finder needs a trained model; give a model, or remove start.")
    known = start_names() | {info.name for info in list_models(kind="prompts") if finder}
    return start if start in known else str(path.parent / start)


def _learned(sources: tuple[Planned, ...], classes: tuple[str, ...], path: Path) -> tuple[Planned, ...]:
    """Return the sources with those of their layers that are classes of a finder."""
    found = []
    for planned in sources:
        known: Mapping[str, Layer] = overhead.OBJECTS if planned.labels is None else planned.layers
        layers = {layer: use for layer, use in known.items() if layer in classes}
        if not layers:
            raise OptionError(
                f"{path.name}, [[source]] ({planned.name}) has the layers {', '.join(known)}, none of which is a class of the "
                f"finder ({', '.join(classes)}); correct classes, or remove the source."
            )
        found.append(replace(planned, layers=layers))
    if missing := [name for name in classes if not any(name in planned.layers for planned in found)]:
        raise OptionError(f"{path.name}: no [[source]] has the class {missing[0]!r}; add its labels, or remove the class.")
    return tuple(found)


def _network(table: Table) -> Mapping[str, tuple[int, ...]]:
    named = table.take("preset", str | None, None)
    preset = {} if named is None else preset_blocks(named)
    given = {name: table.take(name, tuple[int, ...]) for name in BLOCKS if name in table}
    table.done()
    for name, blocks in given.items():
        if len(blocks) != BLOCKS[name] or min(blocks) < 0:
            raise OptionError(f"{table.where}: {name} is {list(blocks)}; give {BLOCKS[name]} whole numbers of 0 or more.")
    return {**preset, **given}


def preset_blocks(name: str) -> Mapping[str, tuple[int, ...]]:
    """Return the numbers of blocks of a named network preset.

    Raises
    ------
    OptionError
        If there is no preset of this name.
    """
    preset = network_preset(name)
    return {"attend": preset.attend, "deepen": preset.deepen}


def _planned(values: Mapping[str, Any], path: Path, place: str, *, judged: bool = False) -> Planned:
    table = Table(values, f"{path.name}, {place}")
    found = [kind for kind in KINDS if kind in table]
    if len(found) != 1:
        said = " and ".join(found) or "no labels"
        raise OptionError(f"{table.where} has {said}; give exactly one of {', '.join(KINDS)}.")
    name = table.take("name", str, found[0].replace("_", " "))
    table.where = f"{table.where} ({name})"
    try:
        labels = _labels(found[0], table, path.parent)
        weight, scales, layers = (1.0, (1.0, 1.0), {}) if judged else _use(found[0], labels, table)
    except OptionError as error:
        if str(error).startswith(table.where):
            raise
        raise OptionError(f"{table.where}: {error}") from None
    table.done()
    if judged and labels is not None:
        layers = {layer: Layer(1.0) for layer in labels.layers}
    return Planned(name, labels, weight, scales, layers)


def _labels(kind: str, table: Table, folder: Path) -> Labels | None:
    match kind:
        case "vectors":
            given = table.take("vectors", str | Mapping[str, str])
            images, least = _images(table, folder), table.take("min_area_px", int, MIN_AREA_PX)
            named = {"building": given} if isinstance(given, str) else given
            return Vectors(images, {layer: str(folder / file) for layer, file in named.items()}, least)
        case "coco":
            file = folder / table.take("coco", str)
            home = folder / table.take("images", str, str(file.parent.absolute()))
            return Coco(file, home, table.take("layer", str, "building"), table.take("min_area_px", int, MIN_AREA_PX))
        case "masks":
            classes = table.take("classes", Mapping[str, tuple[int | str, ...]])
            masks, least = str(folder / table.take("masks", str)), table.take("min_area_px", int, MIN_AREA_PX)
            return ClassMaps(_images(table, folder), masks, classes, least)
        case "scenes":
            layers = table.take("layers", Layers, None)
            return Scenes(
                table.take("scenes", int), table.take("seed", int, 0), SCENE_LAYERS if layers is None else tuple(layers)
            )
        case "pseudo":
            _only_true("pseudo", table)
            felzenszwalb()
            return Regions(_images(table, folder))
    _only_true("open_data", table)
    return None


def _images(table: Table, folder: Path) -> Images:
    given = table.take("images", str | tuple[str, ...])
    patterns = (given,) if isinstance(given, str) else given
    every = table.take("every", int, 1)
    if every < 1:
        raise OptionError(f"every is {every}; give 1 to use each image, or 3 to use every third one.")
    found: set[Path] = set()
    for pattern in patterns:
        # Path.glob refuses absolute patterns.
        matches = glob.glob(pattern, root_dir=folder, recursive=True)  # noqa: PTH207
        matches = [match for match in matches if (folder / match).is_file()]
        if not matches:
            raise OptionError(f"images is {pattern!r}, which matches no file in {folder}; correct the pattern.")
        found.update(folder / match for match in matches)
    bands = table.take("bands", tuple[int | str, ...] | None, None)
    return Images(
        tuple(sorted(found)[::every]),
        bands,
        table.take("stretch", tuple[float, float] | None, None),
        table.take("nodata", float | str | None, None),
        table.take("alpha", int | str | None, None),
        table.take("invented", str | None, None),
    )


def _use(kind: str, labels: Labels | None, table: Table) -> tuple[float, tuple[float, float], Mapping[str, Layer]]:
    """Read the weight, the scales and the layers of a source."""
    weight = table.take("weight", float, 1.0)
    if weight <= 0:
        raise OptionError(f"weight is {weight}; give more than 0, or remove the source.")
    if labels is None:
        return weight, (1.0, 1.0), {}
    low, high = scales = table.take("scales", tuple[float, float], (0.5, 2.0))
    if not 0 < low <= high:
        raise OptionError(f"scales is {list(scales)}; give two numbers above 0, the smaller first.")
    given = table.take("layers", Layers, None)
    if isinstance(given, tuple):
        given = dict.fromkeys(given, 1.0)
    if given is None:
        return weight, scales, dict(LAYERS) if kind == "pseudo" else {layer: Layer(1.0) for layer in labels.layers}
    unknown = sorted(given.keys() - set(labels.layers))
    if unknown or not given:
        raise OptionError(
            f"layers has {', '.join(unknown) or 'nothing'}; give layers of the labels: {', '.join(labels.layers)}."
        )
    return weight, scales, {name: use if isinstance(use, Layer) else Layer(use) for name, use in given.items()}


def _only_true(key: str, table: Table) -> None:
    if not table.take(key, bool):
        raise OptionError(f"{key} is false; set it to true, or remove the source.")
