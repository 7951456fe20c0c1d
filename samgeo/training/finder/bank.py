"""The bank: random crops that are encoded once, so that each step of a finder's head needs no encoder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from samgeo.errors import OptionError
from samgeo.finding.finder import pyramid_of
from samgeo.storage.atomic import write_whole
from samgeo.training.data.examples import Source
from samgeo.training.finder.crops import Crop, draw_crop
from samgeo.training.finder.targets import draw_targets

if TYPE_CHECKING:
    from samgeo.models.protocols import Segmenter

__all__ = ["BANK_STREAM", "SCORE_STREAM", "Bank", "crop_of", "make_bank"]

# The second number of the seed of a crop: crops of the bank and of the scorer are drawn from separate streams.
BANK_STREAM, SCORE_STREAM = 2, 3
ABOUT = "bank.json"
SAVE_EVERY = 50
HALF_BYTES = 2


@dataclass(frozen=True, slots=True, eq=False)
class Bank:
    """Encoded crops, in memory-mapped arrays of half precision.

    Attributes
    ----------
    maps : tuple of ndarray, shape (N, h, w, C)
        The feature maps of the encoder, the coarsest first.
    targets : ndarray, shape (N, 2 K + 6, S / 8, S / 8)
        See `samgeo.training.finder.targets.draw_targets`.
    """

    maps: tuple[NDArray[np.float16], ...]
    targets: NDArray[np.float16]

    def __len__(self) -> int:
        return len(self.targets)

    def batch(self, rows: Sequence[int]) -> tuple[list[Tensor], Tensor]:
        """Return the feature maps and the targets of some crops, in float32."""
        maps = [torch.from_numpy(np.stack([one[row] for row in rows])).float() for one in self.maps]
        return maps, torch.from_numpy(np.stack([self.targets[row] for row in rows])).float()


def make_bank(
    model: Segmenter,
    sources: Sequence[Source],
    classes: Sequence[str],
    count: int,
    folder: Path,
    *,
    seed: int = 0,
    report: Callable[[str], None] | None = None,
) -> Bank:
    """Draw and encode crops, or go on where an earlier call with the same arguments was stopped.

    Parameters
    ----------
    model : Segmenter
        A model that gives feature maps.
    sources : sequence of Source
        The pictures.
    classes : sequence of str
        The layers.
    count : int
        Number of crops.
    folder : Path
        Where the arrays are kept. The caller holds its lock.
    seed : int, default 0
        The same seed draws the same crops.
    report : callable, optional
        Called with lines of text that tell the progress.

    Returns
    -------
    Bank

    Raises
    ------
    ModelError
        If the model gives no feature maps.
    OptionError
        If no crop can be drawn, there is too little space, or the arrays cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        done, arrays = _opened(folder, count)
        for number in range(done, count):
            rows = _encoded(model, crop_of(sources, classes, model.input_size, (seed, BANK_STREAM, number)))
            if not arrays:
                arrays = _created(folder, count, [row.shape for row in rows])
            for index, (array, row) in enumerate(zip(arrays, rows, strict=True)):
                _write(folder / f"{index}.npy", array.offset + number * row.nbytes, row)
            if (number + 1) % SAVE_EVERY == 0 or number + 1 == count:
                about = {"crops": count, "done": number + 1, "arrays": len(arrays)}
                write_whole(folder / ABOUT, json.dumps(about).encode())
                if report is not None:
                    report(f"encoded {number + 1:,} of {count:,} crops")
    except OSError as error:
        raise OptionError(
            f"{folder} cannot be written ({error}); free disk space, and run the same command to continue."
        ) from None
    *features, targets = arrays
    return Bank(tuple(features), targets)


def crop_of(sources: Sequence[Source], classes: Sequence[str], side: int, seed: tuple[int, int, int]) -> Crop:
    """Draw the crop that belongs to a seed: seed, stream and number."""
    return draw_crop(sources, classes, side, np.random.default_rng(seed))


def _encoded(model: Segmenter, crop: Crop) -> list[NDArray[np.float16]]:
    """Return the feature maps and the targets of a crop in half precision."""
    limit = float(np.finfo(np.float16).max)
    maps = pyramid_of(model, model.embed(crop.image[None])[0])
    return [*(one[0].float().clamp(-limit, limit).half().cpu().numpy() for one in maps), draw_targets(crop.layers)]


def _created(folder: Path, count: int, shapes: Sequence[tuple[int, ...]]) -> list[np.memmap[Any, np.dtype[np.float16]]]:
    """Make the arrays, without their content. Where there is too little space for it, an `OptionError` says so."""
    needed = count * HALF_BYTES * sum(int(np.prod(shape)) for shape in shapes)
    (folder / ABOUT).unlink(missing_ok=True)
    for path in folder.glob("*.npy"):
        path.unlink()
    if needed > (free := shutil.disk_usage(folder).free):
        raise OptionError(
            f"{count:,} crops need {needed / 1e9:.1f} GB in {folder}, where {free / 1e9:.1f} GB are free; free disk space, "
            "give fewer crops, or give another folder (--folder)."
        )
    for index, shape in enumerate(shapes):
        np.lib.format.open_memmap(folder / f"{index}.npy", "w+", np.float16, (count, *shape)).flush()
    return _arrays(folder, len(shapes))


def _write(path: Path, offset: int, row: NDArray[np.float16]) -> None:
    # On a full disk, this raises an OSError, where writing to a memory-mapped array would end the process.
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(np.ascontiguousarray(row).tobytes())


def _opened(folder: Path, count: int) -> tuple[int, list[np.memmap[Any, np.dtype[np.float16]]]]:
    """Return how many crops are there, and the arrays; none if there are no arrays for this number of crops."""
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        arrays = _arrays(folder, int(about["arrays"]))
        is_whole = about["crops"] == count and len(arrays) > 1 and all(len(array) == count for array in arrays)
        return (int(about["done"]), arrays) if is_whole else (0, [])
    except (OSError, ValueError, LookupError, TypeError):
        return 0, []


def _arrays(folder: Path, count: int) -> list[np.memmap[Any, np.dtype[np.float16]]]:
    return [np.lib.format.open_memmap(folder / f"{index}.npy", "r") for index in range(count)]
