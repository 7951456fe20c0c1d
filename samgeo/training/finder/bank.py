"""The bank: random crops that are encoded once, so that each step of a finder's head needs no encoder."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from samgeo.errors import ModelError, OptionError
from samgeo.models.protocols import Pyramidal
from samgeo.storage.atomic import write_whole
from samgeo.training.data.examples import Source
from samgeo.training.finder.crops import Crop, draw_crop
from samgeo.training.finder.targets import draw_targets

if TYPE_CHECKING:
    from samgeo.models.protocols import Segmenter

__all__ = ["Bank", "crop_of", "make_bank"]

# The first number of the seed of a crop: crops of the bank and of the scorer are drawn from separate streams.
BANK_STREAM, SCORE_STREAM = 2, 3
ABOUT = "bank.json"
SAVE_EVERY = 50


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
        If no crop can be drawn, or the arrays cannot be written.
    """
    if not isinstance(model, Pyramidal):
        raise ModelError(f"the model {model.name} gives no feature maps (it has no method pyramid), which a finder needs.")
    folder.mkdir(parents=True, exist_ok=True)
    done, arrays = _opened(folder, count)
    for number in range(done, count):
        crop = crop_of(sources, classes, model.input_size, (seed, BANK_STREAM, number))
        maps = model.pyramid(model.embed(crop.image[None])[0])
        rows = [*(one[0].half().cpu().numpy() for one in maps), draw_targets(crop.layers)]
        try:
            if not arrays:
                arrays = [_created(folder, index, (count, *row.shape)) for index, row in enumerate(rows)]
            for array, row in zip(arrays, rows, strict=True):
                array[number] = row
            if (number + 1) % SAVE_EVERY == 0 or number + 1 == count:
                for array in arrays:
                    array.flush()
                write_whole(folder / ABOUT, json.dumps({"crops": count, "done": number + 1, "arrays": len(arrays)}).encode())
                if report is not None:
                    report(f"encoded {number + 1:,} of {count:,} crops")
        except OSError as error:
            raise OptionError(
                f"{folder} cannot be written ({error}); make space, and give the same command to go on."
            ) from None
    *features, targets = arrays
    return Bank(tuple(features), targets)


def crop_of(sources: Sequence[Source], classes: Sequence[str], side: int, seed: tuple[int, int, int]) -> Crop:
    """Draw the crop that belongs to a seed: seed, stream and number."""
    return draw_crop(sources, classes, side, np.random.default_rng(seed))


def _created(folder: Path, index: int, shape: tuple[int, ...]) -> NDArray[np.float16]:
    array: NDArray[np.float16] = np.lib.format.open_memmap(folder / f"{index}.npy", "w+", np.float16, shape)
    return array


def _opened(folder: Path, count: int) -> tuple[int, list[NDArray[np.float16]]]:
    """Return how many crops are there, and the arrays; none if there are no arrays for this number of crops."""
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        if about["crops"] != count:
            return 0, []
        arrays = [np.load(folder / f"{index}.npy", mmap_mode="r+", allow_pickle=False) for index in range(about["arrays"])]
        return (int(about["done"]), arrays) if all(len(array) == count for array in arrays) else (0, [])
    except (OSError, ValueError, LookupError, TypeError):
        return 0, []
