"""SAM's prompt encoder: points, boxes and masks are encoded as tokens and as a dense map."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from samgeo.errors import OptionError
from samgeo.models.sam1.architecture import DecoderSizes
from samgeo.models.sam1.encoder import ChannelNorm

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["EncodedPrompts", "PromptEncoder"]

BACKGROUND, FOREGROUND, TOP_LEFT, BOTTOM_RIGHT = range(4)


@dataclass(frozen=True, slots=True, eq=False)
class EncodedPrompts:
    """Prompts of one window, checked and on the device.

    Attributes
    ----------
    points : tensor of float32, shape (P, N, 2), optional
        x and y in input pixels, continuous: the centre of the first pixel is (0.5, 0.5).
    labels : tensor of float32, shape (P, N), optional
        1 foreground, 0 background, -1 padding. Given together with ``points``.
    boxes : tensor of float32, shape (P, 4), optional
        x0, y0, x1, y1.
    masks : tensor of float32, shape (P, low, low), optional
        Logits.
    """

    points: Tensor | None
    labels: Tensor | None
    boxes: Tensor | None
    masks: Tensor | None

    @classmethod
    def of(
        cls,
        points: Tensor | ArrayLike | None,
        labels: Tensor | ArrayLike | None,
        boxes: Tensor | ArrayLike | None,
        masks: Tensor | ArrayLike | None,
        *,
        low: int,
        device: torch.device,
    ) -> EncodedPrompts:
        """Check that prompts fit each other and that masks have a side of ``low`` pixels, and move them to the device."""
        if (points is None) != (labels is None):
            raise OptionError(
                "points and labels must be given together; give 1 (foreground), 0 (background) or -1 (padding) for each point."
            )
        shapes = {"points": (None, 2), "labels": (None,), "boxes": (4,), "masks": (low, low)}
        given = {"points": points, "labels": labels, "boxes": boxes, "masks": masks}
        arrays = {name: _numbers(name, value, shapes[name]) for name, value in given.items() if value is not None}
        counts = {name: len(array) for name, array in arrays.items()}
        if not counts:
            raise OptionError("there is no prompt; give points with labels, boxes or masks.")
        if len(set(counts.values())) > 1:
            raise OptionError(
                f"the numbers of prompts differ: {counts}; give as many of each, because row i of each belongs to prompt i."
            )
        if points is not None and arrays["labels"].shape != arrays["points"].shape[:2]:
            raise OptionError(
                f"labels have shape {arrays['labels'].shape} and points {arrays['points'].shape}; give a label for each point."
            )
        if labels is not None and not np.isin(arrays["labels"], (-1, 0, 1)).all():
            raise OptionError("labels must be 1 (foreground), 0 (background) or -1 (padding).")
        tensors = {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}
        return cls(**{name: tensors.get(name) for name in shapes})

    def __len__(self) -> int:
        return next(len(value) for value in (self.points, self.boxes, self.masks) if value is not None)

    def __getitem__(self, part: slice) -> EncodedPrompts:
        points, labels, boxes, masks = (
            None if value is None else value[part] for value in (self.points, self.labels, self.boxes, self.masks)
        )
        return EncodedPrompts(points, labels, boxes, masks)


class FourierPositions(nn.Module):
    """Encoding of positions as sines and cosines of random frequencies (Tancik et al., 2020)."""

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.zeros(2, features))

    def forward(self, position: Tensor) -> Tensor:
        """Encode x and y from 0 to 1, shape ``(..., 2)``, as ``(..., 2 * features)``."""
        phase = 2 * math.pi * ((2 * position - 1) @ self.positional_encoding_gaussian_matrix)
        return torch.cat([phase.sin(), phase.cos()], dim=-1)


class PromptEncoder(nn.Module):
    """Encoder from prompts to tokens and to a dense map.

    It stays in float32 whatever the type of the rest of the model: in bfloat16 a coordinate may be off by a whole pixel.

    Parameters
    ----------
    architecture : DecoderSizes
        The sizes. Parameters have the names of the official checkpoints.
    pad_boxes : bool, default False
        Whether a padding token follows a box too, as in SAM 2. A padding token always follows points that have no box.
    mask_limit : float, optional
        Largest absolute value of the logits of a mask prompt; others are clamped. By default there is no limit.
    """

    def __init__(self, architecture: DecoderSizes, *, pad_boxes: bool = False, mask_limit: float | None = None) -> None:
        super().__init__()
        self.pad_boxes = pad_boxes
        self.mask_limit = mask_limit
        width, channels = architecture.prompt_width, architecture.mask_channels
        self.grid = architecture.grid
        self.input_size = architecture.input_size
        self.pe_layer = FourierPositions(width // 2)
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, width) for _ in range(4))
        self.not_a_point_embed = nn.Embedding(1, width)
        self.no_mask_embed = nn.Embedding(1, width)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, channels // 4, 2, stride=2),
            ChannelNorm(channels // 4),
            nn.GELU(),
            nn.Conv2d(channels // 4, channels, 2, stride=2),
            ChannelNorm(channels),
            nn.GELU(),
            nn.Conv2d(channels, width, 1),
        )

    def tokens(self, prompts: EncodedPrompts) -> list[Tensor]:
        """Encode points and boxes as tensors of shape ``(P, T, C)``, one for each kind of prompt, and one for the padding.

        As in the training of SAM 1, a padding token follows points without a box. In SAM 2 it follows every point and box.
        """
        found = []
        if prompts.points is not None and prompts.labels is not None:
            found.append(self._points(prompts.points, prompts.labels))
        if prompts.boxes is not None:
            corners = self.pe_layer(prompts.boxes.view(-1, 2, 2) / self.input_size)
            types = torch.cat([self._type(TOP_LEFT), self._type(BOTTOM_RIGHT)])
            found.append(corners + types)
        if found and (prompts.boxes is None or self.pad_boxes):
            found.append(self.not_a_point_embed.weight.expand(len(prompts), 1, -1))
        return found

    def dense(self, masks: Tensor | None) -> Tensor:
        """Encode masks, ``(P, 4 * grid, 4 * grid)`` logits, as ``(P, C, grid, grid)``; without masks, as ``(1, C, 1, 1)``."""
        if masks is None:
            return self.no_mask_embed.weight.view(1, -1, 1, 1)
        if self.mask_limit is not None:
            masks = masks.clamp(-self.mask_limit, self.mask_limit)
        maps: Tensor = self.mask_downscaling(masks[:, None])
        return maps

    def grid_positions(self) -> Tensor:
        """Return the encoded centre of each cell of the embedding, ``(grid * grid, C)``."""
        centre = (torch.arange(self.grid, device=self.no_mask_embed.weight.device, dtype=torch.float32) + 0.5) / self.grid
        y, x = torch.meshgrid(centre, centre, indexing="ij")
        encoded: Tensor = self.pe_layer(torch.stack([x, y], dim=-1)).flatten(0, 1)
        return encoded

    def _points(self, points: Tensor, labels: Tensor) -> Tensor:
        kind = labels[..., None]
        encoded = self.pe_layer(points / self.input_size)
        encoded = encoded + torch.where(kind == 1, self._type(FOREGROUND), self._type(BACKGROUND))
        return torch.where(kind == -1, self.not_a_point_embed.weight, encoded)

    def _type(self, kind: int) -> Tensor:
        weight: Tensor = self.point_embeddings[kind].get_parameter("weight")
        return weight


def _numbers(name: str, value: Tensor | ArrayLike, tail: tuple[int | None, ...]) -> NDArray[np.float32]:
    array: NDArray[np.float32] = np.array(value.cpu() if isinstance(value, Tensor) else value, np.float32)
    fits = array.ndim == 1 + len(tail) and all(n in (None, m) for n, m in zip(tail, array.shape[1:], strict=True))
    if not fits:
        wanted = ", ".join(["P", *("N" if n is None else str(n) for n in tail)])
        raise OptionError(f"{name} must have shape ({wanted}), not {array.shape}.")
    if not np.isfinite(array).all():
        raise OptionError(f"{name} contain numbers that are not finite; give finite numbers.")
    return array
