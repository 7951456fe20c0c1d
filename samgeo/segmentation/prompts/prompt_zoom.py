"""The zoom of each prompt: prompts of small objects are answered in finer windows, which show the object larger."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from samgeo.errors import OptionError
from samgeo.geo.grid import Lattice, Rect
from samgeo.segmentation.masks.piece import Segment
from samgeo.segmentation.prompts.answering import AnswerCount, Answering
from samgeo.segmentation.prompts.assignment import Prompts
from samgeo.segmentation.prompts.decoding import Candidate
from samgeo.segmentation.prompts.prompt_scales import ScaledAnswering
from samgeo.segmentation.windows.zoom import LEAST_WINDOW, window_of

__all__ = ["AUTO", "answers", "candidates", "finer_lattices", "read_zoom"]

AUTO = "auto"
# Zooms relative to the windows of a predictor, and the longest side of the objects that they are for, in pixels of the input
# of the predictor's windows. A zoom of 3 was not better than 2. The measurement is in benchmarks/STUDIES.md.
ZOOMS = ((2.0, 32.0),)


def read_zoom(zoom: float | str) -> tuple[float | str, float]:
    """Return a zoom as the user gives it, and the zoom of the predictor's own windows.

    Raises
    ------
    OptionError
        If it is a text other than "auto".
    """
    if not isinstance(zoom, str):
        return zoom, zoom
    if zoom != AUTO:
        raise OptionError(f'zoom is {zoom!r}; give "auto" or a number from 1/16 to 16.')
    return zoom, 1.0


def finer_lattices(lattice: Lattice, input_size: int) -> list[Lattice]:
    """Return the finer windows for small objects, by rising zoom; none that would be too small."""
    made = []
    for zoom, _ in ZOOMS:
        if lattice.window / zoom >= LEAST_WINDOW:
            made.append(Lattice(lattice.shape, *window_of(zoom * input_size / lattice.window, input_size)))
    return made


def answers(
    answering: Sequence[Answering | ScaledAnswering],
    prompts: Prompts,
    *,
    multimask: bool | str,
    refine: int,
    done: Callable[[int], object] | None = None,
) -> list[Segment | str]:
    """Return the object of each prompt, or a text that says why nothing was found.

    Parameters
    ----------
    answering : sequence of Answering or ScaledAnswering
        The windows by rising zoom, the first with those of coarser scales. If there are several zooms, the zoom of a prompt
        follows from its size, and that of clicks from the size of their first answer.
    prompts : Prompts
        The prompts.
    multimask, refine
        As in `samgeo.Predictor.predict`.
    done : callable, optional
        Called from time to time with the number of prompts that are answered since the last call.
    """
    count = None if done is None else AnswerCount(len(prompts), done)
    found = _answers(answering, prompts, multimask=multimask, refine=refine, count=count)
    if count is not None:
        count.finish()
    return found


def _answers(
    answering: Sequence[Answering | ScaledAnswering],
    prompts: Prompts,
    *,
    multimask: bool | str,
    refine: int,
    count: AnswerCount | None,
) -> list[Segment | str]:
    def answered(level: int, numbers: Iterable[int]) -> dict[int, Segment | str]:
        return answering[level].answers(prompts, numbers, multimask=multimask, refine=refine, count=count)

    if len(answering) == 1:
        return list(answered(0, range(len(prompts))).values())
    levels = {number: _level(answering, prompts, number) for number in range(len(prompts))}
    found: dict[int, Segment | str] = {}
    for level, numbers in _by_level(levels):
        found |= answered(level, numbers)
    again = {}
    for number, answer in found.items():
        if isinstance(answer, Segment) and prompts.only_points(number):
            again[number] = _level_of_side(answering, _side(answer.mask.rect))
    for level, numbers in _by_level(again):
        if level:
            found |= {number: one for number, one in answered(level, numbers).items() if isinstance(one, Segment)}
    return [found[number] for number in range(len(prompts))]


def candidates(answering: Sequence[Answering | ScaledAnswering], prompts: Prompts, *, multimask: bool | str) -> list[Candidate]:
    """Return the masks that the model proposes for one prompt, the best first; the parameters are those of `answers`."""
    level = _level(answering, prompts, 0)
    found = answering[level].candidates(prompts, multimask=multimask)
    if found and prompts.only_points(0):
        finer = _level_of_side(answering, _side(found[0].mask.rect))
        if finer:
            return answering[finer].candidates(prompts, multimask=multimask) or found
    return found


def _level(answering: Sequence[Answering | ScaledAnswering], prompts: Prompts, number: int) -> int:
    """Return the level at which a prompt is asked first."""
    earlier = prompts.earlier[number]
    if earlier is not None:
        # Levels below 0 are the coarser scales of the first windows.
        return max(earlier.level, 0)
    extent = prompts.extent(number, answering[0].frame)
    if isinstance(extent, str) or prompts.only_points(number):
        return 0
    x0, y0, x1, y1 = extent
    return _level_of_side(answering, max(x1 - x0, y1 - y0))


def _level_of_side(answering: Sequence[Answering | ScaledAnswering], side: float) -> int:
    """Return the level for an object with a longest side in raster pixels."""
    seen = side * answering[0].windows.zoom
    return max((level for level, (_, most) in enumerate(ZOOMS[: len(answering) - 1], 1) if seen <= most), default=0)


def _by_level(levels: dict[int, int]) -> list[tuple[int, list[int]]]:
    """Return the numbers of the prompts of each level, by rising level."""
    numbers: dict[int, list[int]] = defaultdict(list)
    for number, level in levels.items():
        numbers[level].append(number)
    return sorted(numbers.items())


def _side(rect: Rect) -> float:
    return float(max(rect.width, rect.height))
