"""The bundled network as a ``Segmenter``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from samgeo.errors import OptionError
from samgeo.models.batching import explain_no_memory, fitting, for_parts, in_parts, joined
from samgeo.models.device import typed_digest
from samgeo.models.embedding_packing import from_halves, to_halves
from samgeo.models.preprocessing import squares
from samgeo.models.sam1.prompt_encoder import EncodedPrompts
from samgeo.models.tiny.decoder import Decoded
from samgeo.models.tiny.encoder import Features
from samgeo.models.tiny.mask_regions import BACKGROUND, CellRegions, regions_of
from samgeo.models.tiny.network import TinyNetwork
from samgeo.models.tiny.point_screen import PointScreen
from samgeo.models.tiny.prompt_encoder import Prompted, Window, features_at

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["Tiny"]

# Number of prompts that are decoded and drawn at once on a CPU. What is computed on images is done in parts that fit the cache
# in any case; with fewer prompts the overhead of calls on their few tokens dominates, and more only need more memory.
DECODE_AT_ONCE = 64
DRAW_AT_ONCE = 4
# A GPU is fastest with many prompts at once, as far as its memory allows.
GPU_AT_ONCE = 128
BYTES_A_PROMPT = 20_000_000


class Tiny:
    """The bundled model as a ``Segmenter``, on any device.

    It holds no state between calls and may be called from several threads at once. The result for a prompt does not depend on
    the prompts that are decoded with it.

    Parameters
    ----------
    network : TinyNetwork
        The network with its weights, in float32. It is moved and converted in place.
    digest : str
        Digest of the weights. In bfloat16 the name of the type is appended to it, because rounding changes the weights.
    device : torch.device, default cpu
        Where to run.
    dtype : torch.dtype, default torch.float32
        Type in which the attention and the upscaler compute. The image encoder always computes in float32: in bfloat16 it
        alone changes the masks more than all other parts together. Coordinates, prompt maps, predicted IoU and logits are
        float32 too.
    screen : PointScreen, optional
        Judges points before they are decoded; see `screen_points`. It must have been fitted to these weights. By default no
        point is left out.

    Examples
    --------
    >>> import numpy as np
    >>> from samgeo.models.tiny import load_tiny
    >>> model = load_tiny(device="cpu")
    >>> embedding = model.embed(np.zeros((1, 512, 512, 3), np.uint8))
    >>> logits, predicted_iou = model.decode(embedding[0], boxes=np.float32([[100, 100, 200, 180]]), multimask=False)
    >>> tuple(logits.shape), tuple(predicted_iou.shape)
    ((1, 1, 128, 128), (1, 1))
    """

    def __init__(
        self,
        network: TinyNetwork,
        *,
        digest: str,
        device: torch.device | None = None,
        dtype: torch.dtype = torch.float32,
        screen: PointScreen | None = None,
    ) -> None:
        self.name = "tiny"
        self.digest = typed_digest(digest, dtype)
        self.embedding_digest = digest  # the encoder computes in float32 whatever the type
        self.input_size = network.config.input_size
        self.device = device or torch.device("cpu")
        self.dtype = dtype
        self.network = network.to(self.device).eval().requires_grad_(requires_grad=False)
        merging = (self.network.prompts.merge8, self.network.prompts.merge16)
        for part in (self.network.decoder, self.network.upscaler, *merging):
            part.to(dtype)
        self.screen = None if screen is None else screen.to(self.device)

    @explain_no_memory
    @torch.inference_mode()
    def embed(self, images: NDArray[np.uint8], sizes: NDArray[np.int64] | None = None) -> Features:
        """Encode a batch of windows.

        Parameters
        ----------
        images : ndarray of uint8, shape (B, S, S, 3)
            RGB.
        sizes : ndarray of int, shape (B, 2), optional
            True height and width of each image, which lies in the top left corner of its square. The rest is padding, and is
            read as zeros whatever it holds. By default there is no padding.

        Returns
        -------
        Features
            About 5.5 MB a window in float32.

        Raises
        ------
        OptionError
            If the arrays have another type or shape.
        """
        side = self.input_size
        given, true = squares(images, sizes, side=side, model=self.name)
        true = None if true is None else true.to(self.device)

        def encode(part: slice) -> Features:
            pixels = given[part].to(self.device)
            if true is not None:
                height, width = true[part].unbind(1)
                index = torch.arange(side, device=self.device)
                real = (index[:, None] < height[:, None, None]) & (index < width[:, None, None])
                pixels = pixels * real[..., None]
            return self.network.encode(pixels.float())

        return joined(in_parts(encode, len(given), len(given)))

    @explain_no_memory
    @torch.inference_mode()
    def decode(
        self,
        embedding: Features,
        *,
        points: NDArray[np.float32] | None = None,
        labels: NDArray[np.int64] | None = None,
        boxes: NDArray[np.float32] | None = None,
        masks: NDArray[np.float32] | None = None,
        multimask: bool = True,
    ) -> tuple[Tensor, Tensor]:
        """Segment the prompts of one window; see ``Segmenter.decode``.

        Padding points are dropped before the network gets the prompts. Use ``multimask`` for one click, which is ambiguous, and
        the single mask for several clicks, a box or an earlier mask.

        Returns
        -------
        logits : tensor of float32, shape (P, 3 or 1, S / 4, S / 4)
            The three candidates with ``multimask``, the single mask without.
        predicted_iou : tensor of float32, shape (P, 3 or 1)
            Predicted IoU of each mask.

        Raises
        ------
        OptionError
            If there is no prompt, or the prompts do not fit each other or the model.
        """
        prompts = self._prompts(embedding, points, labels, boxes, masks)
        kept = slice(1, None) if multimask else slice(0, 1)
        low = self.input_size // 4
        masks_each = self.network.config.masks - 1 if multimask else 1
        logits = torch.empty(len(prompts), masks_each, low, low, device=self.device)
        predicted_iou = torch.empty(len(prompts), masks_each, device=self.device)
        window = self.network.window(embedding)

        def answer(rows: Tensor, prompted: Prompted, decoded: Decoded) -> None:
            scores = decoded.predicted_iou[:, kept]
            predicted_iou[rows] = scores
            for part, drawn in self._draw(window, prompted, decoded, kept, torch.ones_like(scores, dtype=torch.bool)):
                logits[rows[part]] = drawn

        self._decode(window, prompts, answer)
        return logits, predicted_iou

    @explain_no_memory
    @torch.inference_mode()
    def decode_gated(
        self,
        embedding: Features,
        *,
        points: NDArray[np.float32],
        labels: NDArray[np.int64],
        min_iou: float,
        multimask: bool = True,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], Tensor, NDArray[np.float32]]:
        """Segment points, and draw only the candidates that pass; see ``samgeo.models.protocols.Gating``."""
        prompts = self._prompts(embedding, points, labels, None, None)
        kept = slice(1, None) if multimask else slice(0, 1)
        window = self.network.window(embedding)
        found: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []

        def answer(rows: Tensor, prompted: Prompted, decoded: Decoded) -> None:
            scores = decoded.predicted_iou[:, kept]
            passing = scores > min_iou
            for part, drawn in self._draw(window, prompted, decoded, kept, passing):
                row, column = passing[part].nonzero(as_tuple=True)
                found.append((rows[part[row]], column, scores[part[row], column], drawn[row, column]))

        self._decode(window, prompts, answer)
        if not found:
            low = self.input_size // 4
            return _no_index(), _no_index(), torch.empty(0, low, low, device=self.device), np.empty(0, dtype=np.float32)
        index, token, predicted_iou, logits = (torch.cat(parts) for parts in zip(*found, strict=True))
        order = torch.argsort(index, stable=True)
        prompt, candidate, scores = (part[order].cpu().numpy() for part in (index, token, predicted_iou))
        return prompt, candidate, logits[order], scores

    @torch.inference_mode()
    def screen_points(self, embedding: Features, points: NDArray[np.float32], *, min_iou: float) -> NDArray[np.bool_]:
        """Return which points may give a mask above a predicted IoU; see ``samgeo.models.protocols.Screening``."""
        if self.screen is None:
            return np.ones(len(points), dtype=np.bool_)
        at = torch.from_numpy(np.ascontiguousarray(points, dtype=np.float32)).to(self.device)
        return self.screen.passes(features_at(embedding, at[:, None])[:, 0], min_iou).cpu().numpy()

    def pack(self, embedding: Features) -> dict[str, NDArray[Any]]:
        """Convert the embedding of one window to arrays that can be stored; see ``samgeo.models.embedding_packing``."""
        return to_halves(embedding)

    def unpack(self, arrays: Mapping[str, NDArray[Any]]) -> Features:
        """Convert arrays from `pack` to an embedding."""
        return from_halves(Features, arrays, device=self.device, dtype=torch.float32)

    @torch.inference_mode()
    def features(self, embedding: Features) -> NDArray[np.float32]:
        """Return the feature pyramid of one window as one map; see ``samgeo.models.protocols.Describing``.

        Returns
        -------
        ndarray of float32, shape (S / 4, S / 4, C)
            The channels at strides 16, 8 and 4. The cells of the coarser strides are repeated.
        """
        pyramid = (embedding.stride16, embedding.stride8, embedding.stride4)
        side = self.input_size // 4
        maps = (_repeated(layer[0].float(), side) for layer in pyramid)
        return torch.cat(list(maps), dim=-1).cpu().numpy()

    @property
    def channels_by_stride(self) -> dict[int, slice]:
        """The channels of `features` at each stride; see ``samgeo.models.protocols.Strided``."""
        d16, d8, d4 = self.network.config.channels
        return {16: slice(0, d16), 8: slice(d16, d16 + d8), 4: slice(d16 + d8, d16 + d8 + d4)}

    @torch.inference_mode()
    def pyramid(self, embedding: Features) -> list[Tensor]:
        """Return the maps at strides 16, 8 and 4; see ``samgeo.models.protocols.Pyramidal``."""
        return [embedding.stride16, embedding.stride8, embedding.stride4]

    def _prompts(
        self,
        embedding: Features,
        points: Tensor | ArrayLike | None,
        labels: Tensor | ArrayLike | None,
        boxes: Tensor | ArrayLike | None,
        masks: Tensor | ArrayLike | None,
    ) -> EncodedPrompts:
        if len(embedding) != 1:
            raise OptionError(f"decode takes one window's embedding, not {len(embedding)}; give embedding[i].")
        prompts = EncodedPrompts.of(points, labels, boxes, masks, low=self.input_size // 4, device=self.device)
        if prompts.boxes is None:
            empty = _nothing(prompts)
            if len(empty):
                wanted = f"give one, for {self.name} uses masks to refine those."
                raise OptionError(f"prompt {int(empty[0])} has neither a point nor a box; {wanted}")
        return prompts

    def _draw(
        self, window: Window, prompted: Prompted, decoded: Decoded, kept: slice, wanted: Tensor
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Draw the candidates ``kept`` of those prompts that have a wanted candidate.

        Yields
        ------
        rows : tensor
            Rows of some of the prompts.
        logits : tensor
            Their logits.
        """
        rows = wanted.any(1).nonzero()[:, 0]
        at_once = self._at_once(DRAW_AT_ONCE)
        low = self.input_size // 4
        found: Iterable[CellRegions] = ()
        whole = [rows]
        if decoded.coverage is not None:
            found, whole = regions_of(decoded.coverage[rows, kept], wanted[rows]), [rows[:0]]
        for own in found:
            regions = replace(own, rows=rows[own.rows])
            if regions.whole:
                whole.append(regions.rows)
                continue

            def draw(part: slice, regions: CellRegions = regions) -> tuple[Tensor, Tensor, Tensor]:
                some = regions[part]
                logits = torch.full((len(some), wanted.shape[1], low, low), BACKGROUND, device=self.device)
                drawn = self.network.draw_regions(window, prompted, decoded, kept, some)
                return some.rows, logits, (some.place(drawn, logits) & wanted[some.rows]).any(1)

            for some, logits, cut in in_parts(draw, len(regions), at_once * (regions.cells // regions.side) ** 2):
                whole.append(some[cut])
                yield some[~cut], logits[~cut]
        rest = torch.cat(whole)
        yield from in_parts(
            lambda part: (rest[part], self.network.draw(window, prompted, decoded, kept, rest[part])), len(rest), at_once
        )

    def _at_once(self, on_cpu: int) -> int:
        if self.device.type == "cpu":
            return on_cpu
        return min(fitting(self.device, BYTES_A_PROMPT, budget=GPU_AT_ONCE * BYTES_A_PROMPT), GPU_AT_ONCE)

    def _decode(self, window: Window, prompts: EncodedPrompts, answer: Callable[[Tensor, Prompted, Decoded], None]) -> None:
        """Decode prompts in parts, up to the predicted IoU; prompts with equally many points are decoded together."""
        for rows, points, labels in _without_padding(prompts):
            given = (points, labels)

            def decode(part: slice, rows: Tensor = rows, given: tuple[Tensor | None, Tensor | None] = given) -> None:
                chosen = rows[part]
                clicks = (None if array is None else array[part] for array in given)
                rest = (None if array is None else array[chosen] for array in (prompts.boxes, prompts.masks))
                answer(chosen, *self.network.decode(window, *clicks, *rest))

            for_parts(decode, len(rows), self._at_once(DECODE_AT_ONCE))


def _repeated(layer: Tensor, side: int) -> Tensor:
    """Repeat the cells of a map (h, w, C) so that its side is ``side``."""
    times = side // len(layer)
    return layer.repeat_interleave(times, dim=0).repeat_interleave(times, dim=1)


def _nothing(prompts: EncodedPrompts) -> Tensor:
    """Return the numbers of the prompts that have no point."""
    if prompts.labels is None:
        return torch.arange(len(prompts))
    return (prompts.labels < 0).all(1).nonzero()[:, 0]


def _without_padding(prompts: EncodedPrompts) -> Iterator[tuple[Tensor, Tensor | None, Tensor | None]]:
    """Group prompts by their number of points; yield the rows, and points and labels without padding.

    Padding would take part in the attention, so that the result for a prompt would depend on the longest prompt of the call.
    """
    if prompts.points is None or prompts.labels is None:
        yield torch.arange(len(prompts)), None, None
        return
    labels = prompts.labels.long()
    counts = (labels >= 0).sum(1)
    first = torch.argsort(labels < 0, dim=1, stable=True)
    for count in sorted(set(counts.tolist())):
        rows = (counts == count).nonzero()[:, 0]
        if count == 0:
            yield rows, None, None
            continue
        columns = first[rows, :count]
        yield rows, prompts.points[rows].take_along_dim(columns[..., None], 1), labels[rows].take_along_dim(columns, 1)


def _no_index() -> NDArray[np.int64]:
    return np.empty(0, dtype=np.int64)
