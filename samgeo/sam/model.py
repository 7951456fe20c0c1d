"""SAM 1 of any size behind the one door."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from samgeo.errors import OptionError
from samgeo.sam.architecture import Architecture
from samgeo.sam.decoder import MaskDecoder
from samgeo.sam.encoder import ImageEncoder
from samgeo.sam.preprocess import normalise
from samgeo.sam.prompt import PromptEncoder

__all__ = ["Embedding", "Sam", "SamNetwork"]

# Decoding holds at most about this many bytes of activations, and as many as eight image-sized maps for each prompt.
DECODE_BYTES = 1 << 30
MAPS_A_PROMPT = 8.3


class SamNetwork(nn.Module):
    """The three parts of SAM 1, with the parameter names of the official checkpoints.

    Parameters
    ----------
    architecture : Architecture
        The sizes.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.image_encoder = ImageEncoder(architecture)
        self.prompt_encoder = PromptEncoder(architecture)
        self.mask_decoder = MaskDecoder(architecture)


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """What SAM's image encoder made of some windows.

    Attributes
    ----------
    features : tensor, shape (B, C, g, g)
        On the device and in the type of the model that made it.
    """

    features: Tensor

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, index: int) -> Embedding:
        if not -len(self) <= index < len(self):
            raise IndexError(f"window {index} of an embedding of {len(self)}")
        return Embedding(self.features[index][None])


class Sam:
    """SAM 1 as a ``Segmenter``: any width and depth, on any device, in float32 or bfloat16.

    It holds no state between calls and may be called from several threads at once.

    Parameters
    ----------
    network : SamNetwork
        With its weights, in float32. It is moved and converted in place.
    name : str
        For provenance.
    digest : str
        Of the weights. In bfloat16 the type is appended to it, because rounded weights are other weights.
    device : torch.device, default cpu
        Where to run.
    dtype : torch.dtype, default torch.float32
        What the image encoder and the decoder's transformer compute in. Coordinates, predicted IoU and logits are always
        float32.
    """

    def __init__(
        self,
        network: SamNetwork,
        *,
        name: str,
        digest: str,
        device: torch.device | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.name = name
        self.digest = digest if dtype is torch.float32 else f"{digest}-{str(dtype).removeprefix('torch.')}"
        self.architecture = network.architecture
        self.input_size = network.architecture.input_size
        self.device = device or torch.device("cpu")
        self.dtype = dtype
        self.network = network.to(self.device).eval()
        self.network.image_encoder.to(dtype)
        self.network.mask_decoder.to(dtype)
        self.network.mask_decoder.keep_heads_exact()
        with torch.inference_mode():
            self._positions = self.network.prompt_encoder.grid_positions().to(dtype)

    @torch.inference_mode()
    def embed(self, images: NDArray[np.uint8], sizes: NDArray[np.int64] | None = None) -> Embedding:
        """Encode a batch of windows.

        Parameters
        ----------
        images : ndarray of uint8, shape (B, S, S, 3)
            RGB.
        sizes : ndarray of int, shape (B, 2), optional
            True height and width of each image in its top left corner; what is right of it and below is padding, whatever
            it holds. All of it is image by default.

        Returns
        -------
        Embedding

        Raises
        ------
        OptionError
            If the arrays have another type or shape.
        """
        images = np.asarray(images)
        side = self.input_size
        if images.dtype != np.uint8 or images.shape[1:] != (side, side, 3) or not len(images):
            raise OptionError(
                f"{self.name} encodes uint8 images of shape (B, {side}, {side}, 3), not {images.dtype} of {images.shape}; "
                "samgeo.sam.preprocess.fit_square makes them."
            )
        true = None if sizes is None else self._sizes(sizes, len(images)).to(self.device)
        pixels = torch.from_numpy(np.require(images, requirements=["C", "W"])).to(self.device)
        return Embedding(self.network.image_encoder(normalise(pixels, true).to(self.dtype)))

    @torch.inference_mode()
    def decode(
        self,
        embedding: Embedding,
        *,
        points: NDArray[np.float32] | None = None,
        labels: NDArray[np.int64] | None = None,
        boxes: NDArray[np.float32] | None = None,
        masks: NDArray[np.float32] | None = None,
        multimask: bool = True,
    ) -> tuple[Tensor, Tensor]:
        """Segment the prompts of one window; see ``Segmenter.decode``.

        Returns
        -------
        logits : tensor of float32, shape (P, 3 or 1, S / 4, S / 4)
            Masks 1 to 3 of SAM with ``multimask``, mask 0 without (for the usual patch of 16 pixels).
        predicted_iou : tensor of float32, shape (P, 3 or 1)

        Raises
        ------
        OptionError
            If there is no prompt, or the prompts do not fit each other or the model.
        """
        if len(embedding) != 1:
            raise OptionError(f"decode takes one window's embedding, not {len(embedding)}; give embedding[i].")
        grid = self.architecture.grid
        if tuple(embedding.features.shape[1:]) != (self.architecture.prompt_width, grid, grid):
            raise OptionError(f"this embedding was made by another model than {self.name}.")
        features = embedding.features.to(self.device, self.dtype)
        low = 4 * grid
        prompts = Prompts.of(points, labels, boxes, masks, low=low, device=self.device)
        kept = slice(1, None) if multimask else slice(0, 1)
        if not len(prompts):
            masks_each = len(range(*kept.indices(self.architecture.mask_tokens)))
            empty = torch.zeros(0, masks_each, low, low, device=self.device)
            return empty, empty[..., 0, 0]
        step = self._prompts_at_once()
        parts = [self._decode(features, prompts[at : at + step], kept) for at in range(0, len(prompts), step)]
        logits, predicted_iou = zip(*parts, strict=True)
        return torch.cat(logits), torch.cat(predicted_iou)

    def _decode(self, features: Tensor, prompts: Prompts, kept: slice) -> tuple[Tensor, Tensor]:
        encoder = self.network.prompt_encoder
        sparse = encoder.tokens(prompts.points, prompts.labels, prompts.boxes)
        none = torch.zeros(len(prompts), 0, self.architecture.prompt_width, device=self.device)
        image = features + encoder.dense(prompts.masks).to(self.dtype)
        tokens = torch.cat([none, *sparse], dim=1).to(self.dtype)
        answer: tuple[Tensor, Tensor] = self.network.mask_decoder(image, self._positions, tokens, kept)
        return answer

    def _prompts_at_once(self) -> int:
        a = self.architecture
        return max(int(DECODE_BYTES / (MAPS_A_PROMPT * a.grid**2 * a.prompt_width * self.dtype.itemsize)), 1)

    def _sizes(self, sizes: NDArray[np.int64], count: int) -> Tensor:
        true = np.asarray(sizes)
        if true.shape != (count, 2) or true.dtype.kind not in "iu" or true.min() < 1 or true.max() > self.input_size:
            raise OptionError(
                f"sizes must be {count} pairs of height and width from 1 to {self.input_size}, not {true.tolist()}."
            )
        return torch.from_numpy(true.astype(np.int64))


@dataclass(frozen=True, slots=True, eq=False)
class Prompts:
    """Prompts of one window, checked and on the device."""

    points: Tensor | None
    labels: Tensor | None
    boxes: Tensor | None
    masks: Tensor | None

    @classmethod
    def of(cls, points: Any, labels: Any, boxes: Any, masks: Any, *, low: int, device: torch.device) -> Prompts:
        """Check that prompts fit each other and masks of ``low`` pixels, and move them to the device."""
        if (points is None) != (labels is None):
            raise OptionError("points and labels go together: give 1 (foreground), 0 (background) or -1 (padding) a point.")
        shapes = {"points": (None, 2), "labels": (None,), "boxes": (4,), "masks": (low, low)}
        given = {"points": points, "labels": labels, "boxes": boxes, "masks": masks}
        arrays = {name: _numbers(name, value, shapes[name]) for name, value in given.items() if value is not None}
        counts = {name: len(array) for name, array in arrays.items()}
        if not counts:
            raise OptionError("there is nothing to decode: give points with labels, boxes or masks.")
        if len(set(counts.values())) > 1:
            raise OptionError(f"prompts of different numbers: {counts}; row i of each belongs to prompt i.")
        if points is not None and arrays["labels"].shape != arrays["points"].shape[:2]:
            raise OptionError(f"labels of shape {arrays['labels'].shape} do not fit points of {arrays['points'].shape}.")
        if labels is not None and not np.isin(arrays["labels"], (-1, 0, 1)).all():
            raise OptionError("labels must be 1 (foreground), 0 (background) or -1 (padding).")
        tensors = {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}
        return cls(**{name: tensors.get(name) for name in shapes})

    def __len__(self) -> int:
        return next(len(value) for value in (self.points, self.boxes, self.masks) if value is not None)

    def __getitem__(self, part: slice) -> Prompts:
        points, labels, boxes, masks = (
            None if value is None else value[part] for value in (self.points, self.labels, self.boxes, self.masks)
        )
        return Prompts(points, labels, boxes, masks)


def _numbers(name: str, value: Any, tail: tuple[int | None, ...]) -> NDArray[np.float32]:
    array: NDArray[np.float32] = np.array(value.cpu() if isinstance(value, Tensor) else value, np.float32)
    fits = array.ndim == 1 + len(tail) and all(n in (None, m) for n, m in zip(tail, array.shape[1:], strict=True))
    if not fits:
        wanted = ", ".join(["P", *("N" if n is None else str(n) for n in tail)])
        raise OptionError(f"{name} must have shape ({wanted}), not {array.shape}.")
    if not np.isfinite(array).all():
        raise OptionError(f"{name} hold numbers that are not finite.")
    return array
