"""Options of a data set, with checks of their values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, Self

from samgeo.errors import OptionError
from samgeo.segmentation.options import CleaningOptions, ReadingOptions, WindowOptions

__all__ = ["EXPORTS", "ON_TOP", "PROMPTS", "SetOptions", "check_no_reading"]

PROMPTS = ("hbox", "rhbox", "rbox")
ON_TOP = ("annotation", "smallest")
EXPORTS = ("dota", "torchgeo", "voc", "yolo-boxes", "yolo-obb", "yolo-segments")
"""Formats that can be exported in addition to COCO."""
# Of the options of reading annotations.
DEFAULTS = {"pixels": "inclusive", "on_error": "raise"}


@dataclass(frozen=True, slots=True)
class SetOptions:
    """Options that determine the content of a data set; `make_samrs` describes each of them.

    Attributes
    ----------
    found_by : mapping, optional
        Name, digest, zoom and threshold of the finder of the boxes; None for annotations.

    Raises
    ------
    OptionError
        If an option is invalid.
    """

    prompt: Literal["hbox", "rhbox", "rbox"] = "hbox"
    on_top: Literal["annotation", "smallest"] = "annotation"
    min_box_iou: float = 0.5
    chip: int | None = None
    chip_overlap: int = 0
    min_visible: float = 0.7
    keep_empty: bool = False
    annotations_complete: bool = False
    copy_images: bool = False
    polygons: bool = False
    exports: tuple[str, ...] = ()
    split: tuple[float, float, float] | None = None
    block_m: float | None = None
    seed: int = 0
    found_by: Mapping[str, Any] | None = None
    reading: ReadingOptions = field(default_factory=ReadingOptions)
    windows: WindowOptions = field(default_factory=WindowOptions)
    cleaning: CleaningOptions = field(default_factory=CleaningOptions)

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> Self:
        """Return the options with values from the arguments of `make_samrs`, by name."""
        groups: dict[str, Any] = {
            "reading": ReadingOptions.of(arguments),
            "windows": WindowOptions.of(arguments),
            "cleaning": CleaningOptions.of(arguments),
        }
        own = {one.name: arguments[one.name] for one in fields(cls) if one.name not in {*groups, "found_by"}}
        split = None if own["split"] is None else tuple(own["split"])
        return cls(**(own | {"exports": tuple(own["exports"]), "split": split}), **groups)

    def __post_init__(self) -> None:
        _one_of("prompt", self.prompt, PROMPTS)
        _one_of("on_top", self.on_top, ON_TOP)
        for name in self.exports:
            _one_of("exports", name, EXPORTS)
        self.cleaning.check()
        _share("min_box_iou", self.min_box_iou)
        _share("min_visible", self.min_visible)
        if not isinstance(self.annotations_complete, bool):
            raise OptionError(f"annotations_complete is {self.annotations_complete!r}; give True or False.")
        if self.chip is None and self.chip_overlap:
            raise OptionError("chip_overlap needs chip; give the side of the chips too.")
        if self.chip is not None and not self.chip >= 16:
            raise OptionError(f"chip is {self.chip} pixels; give 16 or more.")
        if self.chip is not None and not 0 <= self.chip_overlap < self.chip:
            raise OptionError(
                f"chip_overlap is {self.chip_overlap}; give a number from 0 to below the side of chips, {self.chip}."
            )
        if self.chip is not None and self.copy_images:
            raise OptionError("copy_images has no effect with chip: chips are always written, whole images never; omit it.")
        if self.split is None and self.block_m is not None:
            raise OptionError("block_m needs split; give split=(train, val, test) too.")
        if self.block_m is not None and not self.block_m > 0:
            raise OptionError(f"block_m is {self.block_m} metres; give a positive number.")
        if self.split is not None:
            _shares(self.split)

    def to_json(self) -> dict[str, Any]:
        """Return the options as plain values for JSON."""
        own = asdict(self)
        del own["reading"], own["windows"], own["cleaning"]
        if own["found_by"] is None:
            del own["found_by"]
        return (
            own
            | {"min_box_iou": float(self.min_box_iou), "min_visible": float(self.min_visible)}
            | {name: value for name, value in self.reading.arguments().items() if name != "invented" or value is not None}
            | {"window": self.windows.window, "overlap": self.windows.overlap}
            | {name: float(size) for name, size in self.cleaning.arguments().items()}
            | {
                "exports": sorted(set(self.exports)),
                "split": None if self.split is None else list(map(float, self.split)),
                "block_m": None if self.block_m is None else float(self.block_m),
            }
        )


def check_no_reading(reading: Mapping[str, Any], instead: str) -> None:
    """Raise an `OptionError` if an option of reading annotations has another value than its default."""
    if any(value != DEFAULTS.get(name) for name, value in reading.items()):
        raise OptionError(f"{', '.join(reading)} apply only to annotation files; omit them for {instead}.")


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    """Raise an `OptionError` unless the value is a known one."""
    if value not in known:
        raise OptionError(f"{name} is {value!r}; give one of {', '.join(known)}.")


def _share(name: str, value: float) -> None:
    """Raise an `OptionError` unless the value is from 0 to 1."""
    if not 0 <= value <= 1:
        raise OptionError(f"{name} is {value}; give a number from 0 to 1.")


def _shares(split: tuple[float, float, float]) -> None:
    """Raise an `OptionError` unless there are three fractions that add up to 1."""
    if len(split) != 3 or not all(0 <= share <= 1 for share in split) or abs(sum(split) - 1) > 1e-6:
        raise OptionError(f"split is {split}; give the shares of train, val and test, which add up to 1.")
