"""The learned finder: a head on the features of an image encoder, which proposes objects, and a scorer of their masks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from samgeo.arguments import check_types
from samgeo.errors import CheckpointError, ModelError, OptionError
from samgeo.finding.head import FinderHead, HeadConfig, Maps
from samgeo.finding.peaks import flipped_back, mean_of, peaks
from samgeo.finding.scoring import MEASURES, Scorer, measure
from samgeo.models.protocols import Pyramidal
from samgeo.models.weights_files import sorted_header
from samgeo.segmentation.windows.asking import Answers
from samgeo.segmentation.windows.automatic import embed_window
from samgeo.segmentation.windows.proposals import Proposals, WindowView
from samgeo.storage.atomic import check_new, write_whole

if TYPE_CHECKING:
    from samgeo.models.protocols import Segmenter
    from samgeo.types import Embedding

__all__ = ["ARCHITECTURE", "BUNDLED", "USED_MEASURES", "Finder", "FinderInfo", "load_finder", "pyramid_of", "save_finder"]

ARCHITECTURE = "samgeo-finder"
BUNDLED = {"building": "building.safetensors"}
# Columns of `samgeo.finding.scoring.measure` that the scorer of a new finder uses.
USED_MEASURES = (0, 1, 2, 3)
LEAST_HEAT, MOST_LEAST_HEAT, HEAT_FOR_SCORE = 0.1, 0.2, 0.8
FLIPS = ((), (1,), (0,), (0, 1))


@dataclass(frozen=True, slots=True)
class FinderInfo:
    """What a finder's file says about it.

    Attributes
    ----------
    classes : tuple of str
        Names of the classes.
    encoder : str
        Digest of the weights whose features the head was trained on.
    zooms : tuple of (float, float)
        The right zoom for each ground resolution: pairs of the coarsest resolution in metres and the number of pixels of the
        model's input for each pixel of the raster, in ascending order. The last zoom also holds for coarser rasters.
    min_score : float
        The default of ``min_score``: objects with a lower score are left out.
    license : str
        SPDX identifier of the licence of the weights.
    about : str
        What it was trained on, in a sentence.
    """

    classes: tuple[str, ...]
    encoder: str
    zooms: tuple[tuple[float, float], ...]
    min_score: float
    license: str = ""
    about: str = ""

    @check_types
    def zoom(self, ground_m: float) -> float:
        """Return the zoom for a ground resolution in metres."""
        return next((zoom for limit, zoom in self.zooms if ground_m <= limit), self.zooms[-1][1])

    @property
    def unknown_zooms(self) -> tuple[float, ...]:
        """The zooms for a raster of unknown resolution: the first and twice the first; one if there is one for all."""
        first = self.zooms[0][1]
        return (first, 2 * first) if len(self.zooms) > 1 else (first,)


class Finder:
    """A learned prompt source; see `samgeo.segmentation.windows.proposals.PromptSource`.

    Parameters
    ----------
    head : FinderHead
        Proposes.
    scorer : Scorer
        Scores.
    info : FinderInfo
        Classes, encoder, zooms and threshold.
    digest : str
        Digest of the weights.
    flips : bool, default False
        Whether each window is encoded four times, as it is, mirrored, upside down, and both, and the maps are averaged. This
        finds a little more and takes three further encodings.
    least_heat : float, default 0.1
        Lower peaks of the heat are not proposed.
    """

    @check_types
    def __init__(
        self,
        head: FinderHead,
        scorer: Scorer,
        info: FinderInfo,
        *,
        digest: str,
        flips: bool = False,
        least_heat: float = LEAST_HEAT,
    ) -> None:
        self.head, self.scorer, self.info = head.eval(), scorer.eval(), info
        self.flips, self.least_heat = flips, least_heat
        self._digest = digest
        for part in (self.head, self.scorer):
            part.requires_grad_(requires_grad=False)

    @property
    def name(self) -> str:
        """Name of the source, for provenance."""
        return f"finder of {', '.join(self.info.classes)}"

    @property
    def digest(self) -> str:
        """Digest of the weights; with flips, that is appended."""
        return f"{self._digest}-flips" if self.flips else self._digest

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.info.classes

    @check_types
    def for_score(self, min_score: float, *, flips: bool = False) -> Finder:
        """Return this finder for a threshold of the score, with or without flips.

        It does not propose peaks that are so low that their masks do not reach the threshold. In the answers to the proposals
        on places that were left out of the training, about one of 10,842 masks with a heat below .2 had a score of .25 or
        more, and it was wrong.
        """
        least = min(max(HEAT_FOR_SCORE * min_score, LEAST_HEAT), MOST_LEAST_HEAT)
        return Finder(self.head, self.scorer, self.info, digest=self._digest, flips=flips, least_heat=least)

    def check(self, model: Segmenter) -> None:
        """Check that the finder belongs to a model.

        Raises
        ------
        ModelError
            If the model gives no feature pyramid, or has other weights than those that the finder was trained on.
        """
        _pyramidal(model)
        if model.digest.split("-")[0] != self.info.encoder:
            raise ModelError(
                f"the {self.name} was trained on the features of a model with digest {self.info.encoder[:12]}, and the model "
                f"{model.name} has digest {model.digest[:12]}; use the model of the finder, or train a finder for this model."
            )

    @torch.inference_mode()
    def propose(self, model: Segmenter, embedding: Embedding, window: WindowView) -> tuple[Proposals, Maps]:
        """Propose objects of one window; see `PromptSource.propose`. The evidence is the maps of the head."""
        maps = self.maps(model, embedding)
        if self.flips:
            if window.image is None:
                raise OptionError("flips need the pixels of the window; give them, or leave flips out.")
            maps = mean_of([maps, *(self._flipped(model, window, axes) for axes in FLIPS[1:])])
        return peaks(maps, model.input_size, least=self.least_heat), maps

    @torch.inference_mode()
    def score(
        self, _model: Segmenter, _embedding: Embedding, proposals: Proposals, answers: Answers, evidence: Maps
    ) -> NDArray[np.float32]:
        """Return the scores of the answers; see `PromptSource.score`."""
        measured = torch.from_numpy(measure(evidence, proposals, answers))
        scores: NDArray[np.float32] = self.scorer(measured).sigmoid().numpy()
        return scores

    def maps(self, model: Segmenter, embedding: Embedding) -> Maps:
        """Return the maps of the head for the embedding of one window."""
        pyramid = [maps.float() for maps in pyramid_of(model, embedding)]
        self.head.to(pyramid[0].device)
        maps: Maps = self.head(pyramid)
        return maps

    def _flipped(self, model: Segmenter, window: WindowView, axes: Sequence[int]) -> Maps:
        """Return the maps of the window that is flipped along axes, flipped back. Padding is flipped too."""
        assert window.image is not None  # noqa: S101 - the caller has checked it
        image = np.ascontiguousarray(np.flip(window.image, tuple(axes)))
        return flipped_back(self.maps(model, embed_window(model, image, image.shape[:2])), axes)


def _pyramidal(model: Segmenter) -> Pyramidal:
    if not isinstance(model, Pyramidal):
        raise ModelError(
            f"the model {model.name} gives no feature maps (it has no method pyramid), which a finder needs; use the model "
            "of the finder, which is tiny for the bundled finders."
        )
    return model


def pyramid_of(model: Segmenter, embedding: Embedding) -> list[Tensor]:
    """Return the feature maps of an embedding; see `Pyramidal`. A `ModelError` says if the model has none."""
    return _pyramidal(model).pyramid(embedding)


@check_types
def load_finder(source: str | Path = "building") -> Finder:
    """Load a finder from its file, or one of the bundled finders by the name of its class.

    Parameters
    ----------
    source : str or Path, default "building"
        A class of a bundled finder, or a ``.safetensors`` file that `samgeo.training` wrote.

    Returns
    -------
    Finder

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, or no finder.

    Examples
    --------
    >>> from samgeo.finding import load_finder
    >>> finder = load_finder("building")
    >>> finder.classes, finder.info.zoom(0.5)
    (('building',), 2.0)
    """
    if isinstance(source, str) and source in BUNDLED:
        with as_file(files("samgeo.finding") / "weights" / BUNDLED[source]) as packaged:
            return _load(packaged)
    return _load(Path(source))


def save_finder(
    path: str | Path, head: FinderHead, scorer: Scorer, info: FinderInfo, *, overwrite: bool = False,
    notes: Mapping[str, str] | None = None,
) -> str:  # fmt: skip
    """Write a finder in half precision, and return the SHA-256 of the file.

    Raises
    ------
    OptionError
        If the name does not end in ``.safetensors``, or the file exists and may not be replaced.
    CheckpointError
        If a weight is not finite in half precision.
    """
    to = check_new(path, ".safetensors", overwrite=overwrite)
    tensors = {f"head.{name}": value.half().contiguous() for name, value in head.state_dict().items()}
    tensors |= {f"scorer.{name}": value.float().contiguous() for name, value in scorer.state_dict().items()}
    said = {
        "architecture": ARCHITECTURE,
        "head": json.dumps(asdict(head.config)),
        "scorer": json.dumps({"measures": [MEASURES[number] for number in scorer.measures], "hidden": scorer.hidden}),
        "info": json.dumps(asdict(info)),
    }
    _check_finite(to, tensors)
    content = sorted_header(save(tensors, said | dict(notes or {})))
    write_whole(to, content)
    return hashlib.sha256(content).hexdigest()


def _load(path: Path) -> Finder:
    try:
        with safe_open(path, framework="pt") as opened:
            said = opened.metadata() or {}
            tensors: dict[str, Tensor] = {name: opened.get_tensor(name).float() for name in opened.keys()}  # noqa: SIM118
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        raise CheckpointError(
            f"there is no finder {path}; give the path of a finder's file, or one of the bundled classes: {', '.join(BUNDLED)}."
        ) from None
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"the finder {path} cannot be read: {error}.") from None
    if said.get("architecture") != ARCHITECTURE:
        raise CheckpointError(
            f"{path} is not a finder: its header says architecture {said.get('architecture')!r}, not {ARCHITECTURE!r}."
        )
    try:
        sizes, scoring, about = (json.loads(said[name]) for name in ("head", "scorer", "info"))
        given: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in sizes.items()}
        config = HeadConfig(**given)
        info = FinderInfo(**about | {"classes": tuple(about["classes"]), "zooms": tuple(map(tuple, about["zooms"]))})
        head, scorer = (
            FinderHead(config),
            Scorer(tuple(MEASURES.index(name) for name in scoring["measures"]), scoring["hidden"]),
        )
        for part, prefix in ((head, "head."), (scorer, "scorer.")):
            part.load_state_dict(
                {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
            )
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"the finder {path} is damaged: {error}.") from None
    if not info.zooms or config.classes != len(info.classes):
        raise CheckpointError(f"the finder {path} is damaged: its classes or zooms do not fit its network.")
    _check_finite(path, tensors)
    return Finder(head, scorer, info, digest=digest[:16])


def _check_finite(path: Path, tensors: Mapping[str, Tensor]) -> None:
    if wrong := sorted(name for name, tensor in tensors.items() if not tensor.isfinite().all()):
        raise CheckpointError(f"the finder {path}: {wrong[0]} contains numbers that are not finite; train it again.")
