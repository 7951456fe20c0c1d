"""Search for more objects like given examples: options that make a prompt source from outlines of examples."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import shapely

from samgeo.errors import OptionError
from samgeo.finding.by_example.example_finder import DEFAULT_SCORE, AreaPrior, ExampleFinder, describing
from samgeo.finding.by_example.example_windows import Outlines, example_cells, read_outlines, zoom_for
from samgeo.finding.by_example.pixel_classifier import PixelClassifier
from samgeo.geo.grid import Lattice
from samgeo.segmentation.options import ReadingOptions, WindowOptions
from samgeo.segmentation.request import Prepared
from samgeo.segmentation.windows.zoom import window_of

if TYPE_CHECKING:
    from samgeo.geo.raster.raster import Raster
    from samgeo.models.protocols import Segmenter
    from samgeo.segmentation.windows.embedding import Encoded
    from samgeo.types import FeaturesLike, RasterLike

__all__ = ["DEFAULT_CLASS", "ExampleOptions", "describe_examples", "learn_examples"]

_log = logging.getLogger(__name__)

DEFAULT_CLASS = "object"
# Part of the digest of a source. It changes when the same examples give other results.
VERSION = 2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExampleOptions:
    """Options of a search by examples; see `samgeo.find`. It is the `samgeo.segmentation.request.Finding` of a request."""

    examples: FeaturesLike
    example_image: RasterLike | None = None
    what: str = DEFAULT_CLASS
    zoom: float | None = None
    min_score: float | None = None
    reading: ReadingOptions

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> Self:
        """Return the options with values from the arguments of `samgeo.find`, by name.

        Raises
        ------
        OptionError
            If there are options of a learned finder.
        """
        if arguments["finder"] is not None or arguments["flips"] or arguments["resolution"] != "auto":
            raise OptionError("a search by examples has no finder; leave out finder, flips and resolution, or the examples.")
        if arguments["what"] is not None and not isinstance(arguments["what"], str):
            raise OptionError("a search by examples has one class; give its name, or leave what out.")
        return cls(
            examples=arguments["examples"],
            example_image=arguments["example_image"],
            what=DEFAULT_CLASS if arguments["what"] is None else arguments["what"],
            zoom=arguments["zoom"],
            min_score=arguments["min_score"],
            reading=ReadingOptions.of(arguments),
        )

    def prepare(self, raster: Raster, model: Segmenter, windows: WindowOptions) -> Prepared:
        """Read the examples, learn from them, and return the source with its windows."""
        describing(model)
        shown = raster if self.example_image is None else self.reading.open(self.example_image)
        outlines = read_outlines(self.examples, shown)
        zoom = zoom_for(outlines.size, model.input_size) if self.zoom is None else self.zoom
        window, overlap = window_of(zoom, model.input_size)
        windows = replace(
            windows,
            window=window if windows.window is None else windows.window,
            overlap=overlap if windows.overlap is None else windows.overlap,
        )
        lattice = windows.lattice(shown, model)
        finder = learn_examples(shown, model, lattice, outlines, what=self.what)
        score = DEFAULT_SCORE if self.min_score is None else self.min_score
        return Prepared(
            finder,
            windows,
            score,
            {"examples": describe_examples(outlines, finder), "zoom": zoom, "min_score": score},
        )


def describe_examples(outlines: Outlines, finder: ExampleFinder) -> dict[str, Any]:
    """Return what the provenance says of examples and of the finder that was made from them."""
    return {
        "accepted": len(outlines.accepted),
        "rejected": len(outlines.rejected),
        "class": finder.what,
        "digest": finder.digest,
    }


def learn_examples(
    raster: Raster,
    model: Segmenter,
    lattice: Lattice,
    outlines: Outlines,
    *,
    what: str = DEFAULT_CLASS,
    encoded: Callable[[tuple[int, int]], Encoded] | None = None,
) -> ExampleFinder:
    """Make a prompt source from examples.

    Parameters
    ----------
    raster : Raster
        The raster of the examples.
    model : Segmenter
        A model that gives feature vectors.
    lattice : Lattice
        Windows in which the examples are read.
    outlines : Outlines
        The examples.
    what : str, default "object"
        Name of the class.
    encoded : callable, optional
        Returns an encoded window of the lattice by its row and column. Without it, windows are read and encoded here.

    Returns
    -------
    ExampleFinder

    Raises
    ------
    OptionError
        If no accepted example has data, or nothing around the examples is known to be something else.
    ModelError
        If the model gives no feature vectors.
    """
    cells = list(example_cells(raster, model, lattice, outlines, encoded))
    areas = shapely.area(outlines.accepted) * (model.input_size / lattice.window) ** 2
    classifier = PixelClassifier.of_windows(cells)
    if classifier is None:
        raise OptionError(
            f"nothing can be learned from the examples in {raster.name}, because no example has data, or none has other pixels "
            "around it; give other examples, or a lower zoom."
        )
    said = [VERSION, model.digest, outlines.digest, raster.provenance(), lattice.window, lattice.overlap, what]
    digest = hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()
    _log.info("Learned from %d examples.", len(areas))
    return ExampleFinder(classifier, AreaPrior.of(areas), what, digest)
