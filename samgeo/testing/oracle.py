"""A perfect model: for rasters whose pixels carry their object ids."""

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from samgeo.errors import OptionError
from samgeo.testing.id_scenes import decode_ids

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from samgeo.models.registry import Gates

__all__ = ["Oracle"]

_SURE = 10.0


class Oracle:
    """A `Segmenter` that knows the truth, because the pixels tell it.

    It takes images made by `samgeo.synthetic.encode_ids`. Every prompt picks an id, and the answer is where the window
    has that id: logits of +10 there and -10 elsewhere, at full resolution, with a predicted IoU of 1. A prompt that picks
    background, id 0, is answered by an empty mask with a predicted IoU of 0. One candidate a prompt, whatever ``multimask``.

    Parameters
    ----------
    input_size : int, default 512
        Side of the window in pixels.

    Attributes
    ----------
    embedded : int
        Windows embedded so far; each process counts its own, and a copy in another process starts at 0.

    Raises
    ------
    OptionError
        If ``input_size`` is not positive.
    """

    name = "oracle"
    digest = hashlib.sha256(b"samgeo oracle 1").hexdigest()

    def __init__(self, input_size: int = 512) -> None:
        if input_size < 1:
            raise OptionError(f"input_size is {input_size} pixels; give at least 1.")
        self.input_size = input_size
        self._embedded = 0
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[Oracle], tuple[int]]:
        return type(self), (self.input_size,)

    @property
    def embedded(self) -> int:
        """Windows embedded so far, by all threads of this process."""
        with self._lock:
            return self._embedded

    @property
    def gates(self) -> Gates:
        """The gates for automatic masks: whatever is not background passes."""
        from samgeo.models.registry import Gates

        return Gates(points_per_side=32, pred_iou=0.5, stability=0.5)

    def embed(self, images: NDArray[np.uint8], sizes: NDArray[np.int64] | None = None) -> NDArray[np.int32]:
        """Read the ids of a batch of windows.

        Parameters
        ----------
        images : ndarray of uint8, shape (B, S, S, 3)
            From `encode_ids`.
        sizes : ndarray of int, shape (B, 2), optional
            True height and width of each window; padding is background, whatever its pixels say.

        Returns
        -------
        ndarray of int32, shape (B, S, S)
            The embedding: ids.

        Raises
        ------
        OptionError
            If the images are not of this model's size.
        """
        side = self.input_size
        if images.ndim != 4 or images.shape[1:] != (side, side, 3):
            raise OptionError(f"images have shape {images.shape}; give (B, {side}, {side}, 3).")
        ids = decode_ids(images)
        if sizes is not None:
            for window, (height, width) in zip(ids, np.asarray(sizes), strict=True):
                window[height:] = 0
                window[:, width:] = 0
        with self._lock:
            self._embedded += len(ids)
        return ids

    def decode(
        self,
        embedding: NDArray[np.int32],
        *,
        points: NDArray[np.float32] | None = None,
        labels: NDArray[np.int64] | None = None,
        boxes: NDArray[np.float32] | None = None,
        masks: NDArray[np.float32] | None = None,
        multimask: bool = True,  # noqa: ARG002 - one object under a prompt, so one candidate
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Answer the prompts of one window with the object that each of them means.

        A prompt with a foreground point means the id under the first one; else one with a box the id, not 0, with the most
        pixels whose centres are in the box (the smallest of several); else one with a mask the id under its highest logit.

        Parameters
        ----------
        embedding : ndarray of int32, shape (S, S)
            ``embed(images)[i]``.
        points : ndarray, shape (P, N, 2), optional
            x and y in window pixels, continuous.
        labels : ndarray, shape (P, N), optional
            1 foreground, 0 background, -1 padding. Needed with ``points``.
        boxes : ndarray, shape (P, 4), optional
            x0, y0, x1, y1 in window pixels, continuous; rows of NaN are no box.
        masks : ndarray, shape (P, h, w), optional
            Logits over the whole window.
        multimask : bool, default True
            Either way there is one candidate: an id has no parts.

        Returns
        -------
        logits : tensor of float32, shape (P, 1, S, S)
        predicted_iou : tensor of float32, shape (P, 1)

        Raises
        ------
        OptionError
            If there is no prompt, or the prompts do not fit each other.
        """
        import torch

        picked = self._pick(embedding, points, labels, boxes, masks)
        return _logits(embedding, picked)[:, None], torch.from_numpy((picked > 0).astype(np.float32))[:, None]

    def decode_gated(
        self,
        embedding: NDArray[np.int32],
        *,
        points: NDArray[np.float32],
        labels: NDArray[np.int64],
        min_iou: float,
        multimask: bool = True,  # noqa: ARG002 - one object under a prompt, so one candidate
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], torch.Tensor, NDArray[np.float32]]:
        """Answer points, drawing only what passes a predicted IoU.

        This method is optional for a `Segmenter`; automatic mode uses it where there is one, because most points of a lattice
        do not pass. The answers equal those of `decode`: two points on one object give two masks.

        Parameters
        ----------
        embedding : ndarray of int32, shape (S, S)
            ``embed(images)[i]``.
        points : ndarray, shape (P, N, 2)
            x and y in window pixels, continuous.
        labels : ndarray, shape (P, N)
            1 foreground, 0 background, -1 padding.
        min_iou : float
            Candidates of a predicted IoU up to this one are left out; those of background always are.
        multimask : bool, default True
            Either way there is one candidate.

        Returns
        -------
        prompt : ndarray of int64, shape (K,)
            The prompt of each candidate that passes, ascending.
        token : ndarray of int64, shape (K,)
            Which candidate of the prompt: always 0.
        logits : tensor of float32, shape (K, S, S)
        predicted_iou : ndarray of float32, shape (K,)

        Raises
        ------
        OptionError
            If points and labels do not fit each other.
        """
        picked = self._pick(embedding, points, labels, None, None)
        prompt = np.flatnonzero((picked > 0) & (min_iou < 1))
        return prompt, np.zeros_like(prompt), _logits(embedding, picked[prompt]), np.ones(len(prompt), dtype=np.float32)

    def pack(self, embedding: NDArray[np.int32]) -> dict[str, NDArray[Any]]:
        """Turn one window's embedding into arrays to keep; see `samgeo.models.embedding_packing`."""
        return {"ids": embedding}

    def unpack(self, arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.int32]:
        """Turn arrays from `pack` into an embedding."""
        return np.asarray(arrays["ids"], dtype=np.int32)

    def _pick(self, ids: NDArray[np.int32], points: Any, labels: Any, boxes: Any, masks: Any) -> NDArray[np.int32]:
        """Return the id that each prompt means, shape (P,); 0 is background."""
        given = {
            name: np.asarray(one) for name, one in (("points", points), ("boxes", boxes), ("masks", masks)) if one is not None
        }
        counts = {len(one) for one in given.values()}
        if len(counts) != 1:
            raise OptionError(
                f"{ {name: len(one) for name, one in given.items()} } prompts; give points, boxes or masks, equally many."
            )
        if points is not None and (labels is None or np.shape(labels) != np.shape(points)[:2]):
            raise OptionError(f"points have shape {np.shape(points)}; give a label, 1, 0 or -1, for each of them.")
        (count,) = counts
        picked = np.zeros(count, dtype=np.int32)
        answered = np.zeros(count, dtype=bool)
        for name, pick in (("points", self._under_points), ("boxes", self._in_boxes), ("masks", self._under_masks)):
            if name in given:
                found, meant = pick(ids, given[name], np.asarray(labels))
                use = meant & ~answered
                picked[use] = found[use]
                answered |= use
        return picked

    def _under_points(
        self, ids: NDArray[np.int32], points: NDArray[Any], labels: NDArray[Any]
    ) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        foreground = labels == 1
        first = foreground.argmax(axis=1) if foreground.shape[1] else np.zeros(len(foreground), dtype=np.int64)
        has = foreground.any(axis=1)
        x, y = np.floor(points[np.arange(len(points)), first]).astype(np.int64).T if foreground.shape[1] else (first, first)
        return _at(ids, y, x), has

    def _in_boxes(
        self, ids: NDArray[np.int32], boxes: NDArray[Any], _: NDArray[Any]
    ) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        has = ~np.isnan(boxes).any(axis=1)
        found = np.zeros(len(boxes), dtype=np.int32)
        for index in np.flatnonzero(has):
            # A pixel is in the box when its centre is: x0 <= x + 0.5 < x1.
            x0, y0, x1, y1 = np.clip(np.ceil(boxes[index] - 0.5), 0, self.input_size).astype(np.int64)
            values, counts = np.unique(ids[y0:y1, x0:x1], return_counts=True)
            counts[values == 0] = 0
            if counts.any():
                found[index] = values[counts.argmax()]
        return found, has

    def _under_masks(
        self, ids: NDArray[np.int32], masks: NDArray[Any], _: NDArray[Any]
    ) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        height, width = masks.shape[1:]
        row, column = np.unravel_index(masks.reshape(len(masks), -1).argmax(axis=1), (height, width))
        y, x = ((at + 0.5) * self.input_size / count for at, count in ((row, height), (column, width)))
        return _at(ids, np.floor(y).astype(np.int64), np.floor(x).astype(np.int64)), np.ones(len(masks), dtype=bool)


def _at(ids: NDArray[np.int32], y: NDArray[np.int64], x: NDArray[np.int64]) -> NDArray[np.int32]:
    """Ids at pixels, 0 outside the window."""
    height, width = ids.shape
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    return np.where(inside, ids[y.clip(0, height - 1), x.clip(0, width - 1)], 0).astype(np.int32)


def _logits(ids: NDArray[np.int32], picked: NDArray[np.int32]) -> torch.Tensor:
    import torch

    window, wanted = torch.from_numpy(ids), torch.from_numpy(np.where(picked > 0, picked, -1).astype(np.int32))
    drawn = torch.full((len(picked), *ids.shape), -_SURE, dtype=torch.float32)
    return drawn.masked_fill_(window == wanted[:, None, None], _SURE)
