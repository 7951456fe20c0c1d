"""A model that returns the true masks of images whose pixels hold their object ids."""

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from samgeo.errors import OptionError
from samgeo.models.registry import Gates
from samgeo.testing.id_scenes import decode_ids

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from numpy.typing import ArrayLike


__all__ = ["Oracle"]

_SURE = 10.0


class Oracle:
    """A `Segmenter` that returns true masks, which it reads from the pixels.

    It takes images made by `samgeo.testing.encode_ids`. Every prompt selects an object id. The result is the mask of this id
    in the window: logits of +10 inside and -10 outside, at full resolution, with a predicted IoU of 1. A prompt that selects
    the background, id 0, gets an empty mask with a predicted IoU of 0. Each prompt gets one candidate, whatever ``multimask``
    is.

    Parameters
    ----------
    input_size : int, default 512
        Side of the window in pixels.

    Attributes
    ----------
    embedded : int
        Number of windows embedded so far. Each process counts its own windows; a copy in another process starts at 0.

    Raises
    ------
    OptionError
        If ``input_size`` is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> from samgeo.testing import Oracle, encode_ids
    >>> labels = np.zeros((64, 64), dtype=np.int32)
    >>> labels[10:20, 10:30] = 1
    >>> model = Oracle(64)
    >>> embeddings = model.embed(encode_ids(labels)[None])
    >>> logits, predicted_iou = model.decode(embeddings[0], points=np.array([[[15.5, 12.5]]]), labels=np.array([[1]]))
    >>> int((logits > 0).sum()), predicted_iou.tolist()
    (200, [[1.0]])
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
        """Number of windows embedded so far, by all threads of this process."""
        with self._lock:
            return self._embedded

    @property
    def gates(self) -> Gates:
        """Thresholds for automatic masks: all masks of objects pass."""
        return Gates(points_per_side=32, pred_iou=0.5, stability=0.5)

    def embed(self, images: NDArray[np.uint8], sizes: NDArray[np.int64] | None = None) -> NDArray[np.int32]:
        """Read the ids of a batch of windows.

        Parameters
        ----------
        images : ndarray of uint8, shape (B, S, S, 3)
            Images from `encode_ids`.
        sizes : ndarray of int, shape (B, 2), optional
            True height and width of each window. The pixels outside are padding and are read as background.

        Returns
        -------
        ndarray of int32, shape (B, S, S)
            The embeddings: object ids.

        Raises
        ------
        OptionError
            If the images do not have the model's input size.
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
        multimask: bool = True,  # noqa: ARG002 - a prompt selects one object, so that there is one candidate
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the mask of the object that each prompt of one window selects.

        A prompt with foreground points selects the id under the first of them. Otherwise, a prompt with a box selects the id,
        except 0, with the most pixels whose centres are in the box; of several such ids, the smallest. Otherwise, a prompt
        with a mask selects the id under its highest logit.

        Parameters
        ----------
        embedding : ndarray of int32, shape (S, S)
            ``embed(images)[i]``.
        points : ndarray, shape (P, N, 2), optional
            Continuous x and y in window pixels.
        labels : ndarray, shape (P, N), optional
            1 for foreground, 0 for background, -1 for padding. Required with ``points``.
        boxes : ndarray, shape (P, 4), optional
            Continuous x0, y0, x1, y1 in window pixels. A row of NaN means no box.
        masks : ndarray, shape (P, h, w), optional
            Logits over the whole window.
        multimask : bool, default True
            Ignored: there is always one candidate, because an id has no parts.

        Returns
        -------
        logits : tensor of float32, shape (P, 1, S, S)
            +10 inside the object, -10 outside.
        predicted_iou : tensor of float32, shape (P, 1)
            1 for an object, 0 for background.

        Raises
        ------
        OptionError
            If there is no prompt, or the numbers of prompts do not agree.
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
        multimask: bool = True,  # noqa: ARG002 - a prompt selects one object, so that there is one candidate
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], torch.Tensor, NDArray[np.float32]]:
        """Return masks for point prompts, but only those whose predicted IoU is above a threshold.

        This method is optional for a `Segmenter`. Automatic segmentation uses it if it exists, because most points of a
        lattice give masks below the threshold, which need not be drawn. The masks are equal to those of `decode`: two points
        on one object give two masks.

        Parameters
        ----------
        embedding : ndarray of int32, shape (S, S)
            ``embed(images)[i]``.
        points : ndarray, shape (P, N, 2)
            Continuous x and y in window pixels.
        labels : ndarray, shape (P, N)
            1 for foreground, 0 for background, -1 for padding.
        min_iou : float
            Candidates with a predicted IoU up to this value are left out. Candidates of background are always left out.
        multimask : bool, default True
            Ignored: there is always one candidate.

        Returns
        -------
        prompt : ndarray of int64, shape (K,)
            Ascending index of the prompt of each returned candidate.
        token : ndarray of int64, shape (K,)
            Number of the candidate of its prompt: always 0.
        logits : tensor of float32, shape (K, S, S)
            +10 inside the object, -10 outside.
        predicted_iou : ndarray of float32, shape (K,)
            Always 1.

        Raises
        ------
        OptionError
            If the shapes of points and labels do not agree.
        """
        picked = self._pick(embedding, points, labels, None, None)
        prompt = np.flatnonzero((picked > 0) & (min_iou < 1))
        return prompt, np.zeros_like(prompt), _logits(embedding, picked[prompt]), np.ones(len(prompt), dtype=np.float32)

    def pack(self, embedding: NDArray[np.int32]) -> dict[str, NDArray[Any]]:
        """Convert one window's embedding to arrays that can be stored; see `samgeo.models.embedding_packing`."""
        return {"ids": embedding}

    def unpack(self, arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.int32]:
        """Convert arrays from `pack` back to an embedding."""
        return np.asarray(arrays["ids"], dtype=np.int32)

    def _pick(
        self,
        ids: NDArray[np.int32],
        points: ArrayLike | None,
        labels: ArrayLike | None,
        boxes: ArrayLike | None,
        masks: ArrayLike | None,
    ) -> NDArray[np.int32]:
        """Return the id that each prompt selects, shape (P,); 0 is background."""
        given = {
            name: np.asarray(one) for name, one in (("points", points), ("boxes", boxes), ("masks", masks)) if one is not None
        }
        counts = {len(one) for one in given.values()}
        if len(counts) != 1:
            raise OptionError(
                f"the numbers of prompts are { {name: len(one) for name, one in given.items()} }; give points, boxes or masks, "
                "and as many of each."
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
        """Return the id under the first foreground point of each prompt, and which prompts have such a point."""
        foreground = labels == 1
        first = foreground.argmax(axis=1) if foreground.shape[1] else np.zeros(len(foreground), dtype=np.int64)
        has = foreground.any(axis=1)
        x, y = np.floor(points[np.arange(len(points)), first]).astype(np.int64).T if foreground.shape[1] else (first, first)
        return _at(ids, y, x), has

    def _in_boxes(
        self, ids: NDArray[np.int32], boxes: NDArray[Any], _: NDArray[Any]
    ) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """Return the id with the most pixels in each box, and which prompts have a box."""
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
        """Return the id under the highest logit of each mask, and that all prompts have a mask."""
        height, width = masks.shape[1:]
        row, column = np.unravel_index(masks.reshape(len(masks), -1).argmax(axis=1), (height, width))
        y, x = ((at + 0.5) * self.input_size / count for at, count in ((row, height), (column, width)))
        return _at(ids, np.floor(y).astype(np.int64), np.floor(x).astype(np.int64)), np.ones(len(masks), dtype=bool)


def _at(ids: NDArray[np.int32], y: NDArray[np.int64], x: NDArray[np.int64]) -> NDArray[np.int32]:
    """Return the ids at pixels; 0 outside the window."""
    height, width = ids.shape
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    return np.where(inside, ids[y.clip(0, height - 1), x.clip(0, width - 1)], 0).astype(np.int32)


def _logits(ids: NDArray[np.int32], picked: NDArray[np.int32]) -> torch.Tensor:
    """Return the logits of the mask of each id; ids of 0 get empty masks."""
    import torch

    window, wanted = torch.from_numpy(ids), torch.from_numpy(np.where(picked > 0, picked, -1).astype(np.int32))
    drawn = torch.full((len(picked), *ids.shape), -_SURE, dtype=torch.float32)
    return drawn.masked_fill_(window == wanted[:, None, None], _SURE)
