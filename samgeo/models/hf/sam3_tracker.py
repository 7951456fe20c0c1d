"""SAM 3 for points, boxes and masks, through ``Sam3TrackerModel`` of the library transformers.

The encoder and the decoder are those of transformers; images and prompts are prepared here, so that torchvision is not needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from samgeo.errors import CheckpointError, OptionError
from samgeo.models.batching import explain_no_memory, fitting, for_parts, in_parts, joined
from samgeo.models.catalog import SAM2_GATES
from samgeo.models.device import sent, typed_digest
from samgeo.models.embedding_packing import from_halves, to_halves
from samgeo.models.hf.pretrained import load_pretrained, require_class
from samgeo.models.preprocessing import squares
from samgeo.models.sam1.prompt_encoder import EncodedPrompts
from samgeo.models.weights_files import checked_digest, weights_file

if TYPE_CHECKING:
    from transformers import Sam3TrackerModel

__all__ = ["Sam3Embedding", "Sam3Tracker", "load_sam3_tracker"]

# The first version of transformers that has the model.
TRANSFORMERS = (5, 0)

# Grey of SAM 3's training: pixels of 0 to 255 become -1 to 1.
MIDDLE = 127.5

# Resolutions of the maps that the decoder uses, in relation to the patches.
SCALE_FACTORS = [4.0, 2.0, 1.0]

# Decoding and encoding hold at most about this many bytes of activations (on CUDA a share of the free memory). Each prompt
# needs about so many maps of the size of the embedding and of the masks, each window so many of the encoder's width.
DECODE_BYTES = 1 << 30
MAPS_A_PROMPT = 12
MASKS_A_PROMPT = 130
ENCODE_BYTES = 1 << 30
MAPS_A_WINDOW = 32


@dataclass(frozen=True, slots=True, eq=False)
class Sam3Embedding:
    """Embeddings of some windows, from the image encoder of SAM 3.

    Attributes
    ----------
    features : tensor, shape (B, 256, g, g)
        The image embedding, at the stride of the patches; ``g`` is 72 for the published model.
    fine2, fine4 : tensor, shapes (B, 64, 2g, 2g) and (B, 32, 4g, 4g)
        The maps at two and four times the resolution, which the decoder adds when it draws masks.
    """

    features: Tensor
    fine2: Tensor
    fine4: Tensor

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, index: int) -> Sam3Embedding:
        if not -len(self) <= index < len(self):
            raise IndexError(f"window {index} of an embedding of {len(self)}")
        return Sam3Embedding(self.features[index][None], self.fine2[index][None], self.fine4[index][None])


class Sam3Tracker:
    """SAM 3's part for points, boxes and masks as a ``Segmenter``, on any device.

    It holds no state between calls and may be called from several threads at once.

    Parameters
    ----------
    network : Sam3TrackerModel
        The model of transformers with its weights, in float32. It is moved and converted in place.
    name : str
        Name of the model, for provenance.
    digest : str
        Digest of the weights. In bfloat16 the name of the type is appended to it, because rounding changes the weights.
    device : torch.device, default cpu
        Where to run.
    dtype : torch.dtype, default torch.float32
        Type in which the image encoder computes. The decoder is always float32.
    """

    gates = SAM2_GATES

    def __init__(
        self,
        network: Sam3TrackerModel,
        *,
        name: str,
        digest: str,
        device: torch.device | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.name = name
        self.digest = typed_digest(digest, dtype)
        self.device = device or torch.device("cpu")
        self.dtype = dtype
        untyped: Any = network
        self.network = untyped.to(self.device).eval().requires_grad_(requires_grad=False)
        self.network.vision_encoder.to(dtype)
        encoder = self.network.prompt_encoder
        self.input_size = int(encoder.input_image_size)
        self._grid = int(encoder.image_embedding_size[0])
        # The sides are not multiples of four cells: masks have four pixels for each patch of 14 pixels.
        self.mask_size = 4 * self._grid
        with torch.inference_mode():
            self._positions = self.network.get_image_wide_positional_embeddings()

    @explain_no_memory
    @torch.inference_mode()
    def embed(self, images: NDArray[np.uint8], sizes: NDArray[np.int64] | None = None) -> Sam3Embedding:
        """Encode a batch of windows.

        Parameters
        ----------
        images : ndarray of uint8, shape (B, S, S, 3)
            RGB.
        sizes : ndarray of int, shape (B, 2), optional
            True height and width of each image, which lies in the top left corner of its square; the rest is padding, and is
            read as middle grey whatever it holds. By default there is no padding.

        Returns
        -------
        Sam3Embedding

        Raises
        ------
        OptionError
            If the arrays have another type or shape.
        """
        pixels, true = squares(images, sizes, side=self.input_size, model=self.name)
        true = None if true is None else true.to(self.device)
        encoder = self.network.vision_encoder
        width = encoder.config.backbone_config.hidden_size

        def encode(part: slice) -> Sam3Embedding:
            normal = _normalised(sent(pixels[part], self.device), None if true is None else true[part])
            # A fourth map, at twice the stride of the patches, serves the detector of SAM 3 alone.
            fine4, fine2, features = encoder(normal.to(self.dtype)).fpn_hidden_states[:3]
            decoder = self.network.mask_decoder
            features = features.float() + self.network.no_memory_embedding.view(1, -1, 1, 1)
            maps = (features, decoder.conv_s1(fine2.float()), decoder.conv_s0(fine4.float()))
            # In one order in memory, an embedding from a store and a new one give the same bits.
            return Sam3Embedding(*(one.contiguous() for one in maps))

        bytes_each = MAPS_A_WINDOW * self._grid**2 * width * self.dtype.itemsize
        return joined(in_parts(encode, len(pixels), fitting(self.device, bytes_each, budget=ENCODE_BYTES)))

    @explain_no_memory
    @torch.inference_mode()
    def decode(
        self,
        embedding: Sam3Embedding,
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
        logits : tensor of float32, shape (P, 3 or 1, mask_size, mask_size)
            The three candidates with ``multimask``. Without, the single mask if it is stable, else the candidate with the best
            predicted IoU, as in the published model.
        predicted_iou : tensor of float32, shape (P, 3 or 1)
            Predicted IoU of each mask.

        Raises
        ------
        OptionError
            If there is no prompt, or the prompts do not fit each other or the model.
        """
        self._check(embedding)
        prompts = EncodedPrompts.of(points, labels, boxes, masks, low=self.mask_size, device=self.device)
        decoder = self.network.mask_decoder
        count = decoder.num_multimask_outputs if multimask else 1
        logits = torch.empty(len(prompts), count, self.mask_size, self.mask_size, device=self.device)
        predicted_iou = torch.empty(len(prompts), count, device=self.device)

        def answer(part: slice) -> None:
            some = prompts[part]
            sparse, dense = self._encoded(some)
            # Each prompt is an image of a batch of its own, because the model takes one mask for each image.
            drawn, scores, _, _ = decoder(
                image_embeddings=_repeated(embedding.features, len(some)),
                image_positional_embeddings=_repeated(self._positions, len(some)),
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
                multimask_output=multimask,
                high_resolution_features=[_repeated(map_, len(some)) for map_ in (embedding.fine4, embedding.fine2)],
            )
            logits[part], predicted_iou[part] = drawn[:, 0], scores[:, 0]

        for_parts(answer, len(prompts), fitting(self.device, self._bytes_a_prompt(), budget=DECODE_BYTES))
        return logits, predicted_iou

    def pack(self, embedding: Sam3Embedding) -> dict[str, NDArray[Any]]:
        """Convert the embedding of one window to arrays that can be stored; see ``samgeo.models.embedding_packing``."""
        return to_halves(embedding)

    def unpack(self, arrays: Mapping[str, NDArray[Any]]) -> Sam3Embedding:
        """Convert arrays from ``pack`` to an embedding."""
        return from_halves(Sam3Embedding, arrays, device=self.device, dtype=torch.float32)

    def rounded(self, embedding: Sam3Embedding) -> Sam3Embedding:
        """Return the embedding that ``unpack(pack(embedding))`` returns, without leaving the device."""
        parts = (embedding.features, embedding.fine2, embedding.fine4)
        # The order in memory decides in which order a processor adds, so it must be that of a stored embedding.
        return Sam3Embedding(*(part.to(torch.float16).float().contiguous() for part in parts))

    @torch.inference_mode()
    def features(self, embedding: Sam3Embedding) -> NDArray[np.float32]:
        """Return one window's image embedding; see ``samgeo.models.protocols.Describing``.

        Returns
        -------
        ndarray of float32, shape (g, g, C)
            ``g`` is 72 and ``C`` 256 for the published model.
        """
        self._check(embedding)
        return embedding.features[0].permute(1, 2, 0).float().cpu().numpy()

    def _check(self, embedding: Sam3Embedding) -> None:
        if len(embedding) != 1:
            raise OptionError(f"decode takes one window's embedding, not {len(embedding)}; give embedding[i].")
        width = self.network.mask_decoder.hidden_size
        if not hasattr(embedding, "fine4") or tuple(embedding.features.shape) != (1, width, self._grid, self._grid):
            raise OptionError(f"this embedding was made by another model than {self.name}.")

    def _encoded(self, prompts: EncodedPrompts) -> tuple[Tensor, Tensor]:
        """Return the tokens (P, 1, T, C) and the dense maps (P, C, g, g) of prompts."""
        count = len(prompts)
        if prompts.points is None or prompts.labels is None:
            points, labels = None, None
        else:
            # The model of transformers adds the half pixel to the centre itself.
            points, labels = prompts.points[:, None] - 0.5, prompts.labels.long()[:, None]
        boxes = None if prompts.boxes is None else prompts.boxes[:, None] - 0.5
        if points is None and boxes is None:
            # A mask alone comes with a point that is padding, as in the published model.
            points = torch.zeros(count, 1, 1, 2, device=self.device)
            labels = torch.full((count, 1, 1), -1, device=self.device)
        masks = None if prompts.masks is None else prompts.masks[:, None]
        sparse, dense = self.network.prompt_encoder(
            input_points=points, input_labels=labels, input_boxes=boxes, input_masks=masks
        )
        return sparse, dense.expand(count, -1, -1, -1)

    def _bytes_a_prompt(self) -> int:
        width = int(self.network.mask_decoder.hidden_size)
        return torch.float32.itemsize * (MAPS_A_PROMPT * self._grid**2 * width + MASKS_A_PROMPT * self.mask_size**2)


def load_sam3_tracker(
    path: str | Path, *, name: str, device: torch.device, dtype: torch.dtype, sha256: str | None = None
) -> Sam3Tracker:
    """Load SAM 3 for points, boxes and masks from a folder in the layout of transformers.

    Parameters
    ----------
    path : str or Path
        The folder, or its ``model.safetensors``. ``config.json`` must be in the folder.
    name : str
        Name of the model, for provenance.
    device : torch.device
        Where to run.
    dtype : torch.dtype
        Type in which the image encoder computes.
    sha256 : str, optional
        Expected digest of the file, or the beginning of it.

    Raises
    ------
    ModelError
        If transformers is missing or too old.
    CheckpointError
        If the file is damaged, incomplete or of another kind, or ``config.json`` is missing.
    """
    model = require_class("Sam3TrackerModel", "SAM 3", TRANSFORMERS)
    file = weights_file(Path(path))
    if file.name != "model.safetensors" or not file.with_name("config.json").is_file():
        raise CheckpointError(
            f"{file}: SAM 3 is read from a folder in the layout of transformers, with config.json and model.safetensors. Give "
            "such a folder, or the name 'sam3'."
        )
    digest = checked_digest(file, sha256)
    network = load_pretrained(
        model,
        file,
        "SAM 3 for points and boxes",
        "Give hf://facebook/sam3, or a model that was saved with Sam3TrackerModel.",
    )
    _check_sizes(file, network.config)
    return Sam3Tracker(network, name=name, digest=digest, device=device, dtype=dtype)


def _check_sizes(file: Path, config: Any) -> None:  # noqa: ANN401 - transformers' classes have no types
    """Check that the sizes of the encoder and of the decoder in ``config.json`` fit, and that masks have three resolutions."""
    encoder, prompts = config.vision_config.backbone_config, config.prompt_encoder_config
    sizes = (encoder.image_size, encoder.patch_size), (prompts.image_size, prompts.patch_size)
    if sizes[0] != sizes[1] or not all(isinstance(size, int) for size in sizes[0]):
        raise CheckpointError(
            f"{file}: config.json gives the sizes of image and patch {sizes[0]} for the encoder and {sizes[1]} for prompts; "
            "they must be equal whole numbers. Download the repository again."
        )
    factors = list(config.vision_config.scale_factors[:3])
    if factors != SCALE_FACTORS:
        raise CheckpointError(
            f"{file}: config.json gives the scale factors {factors}, and SAM 3 for points has {SCALE_FACTORS}. Download the "
            "repository again."
        )


def _normalised(images: Tensor, sizes: Tensor | None) -> Tensor:
    """Scale uint8 images (B, S, S, 3) to -1 to 1, shape (B, 3, S, S), and set the padding to 0."""
    normal = (images.permute(0, 3, 1, 2).float() - MIDDLE) / MIDDLE
    if sizes is None:
        return normal
    along = torch.arange(images.shape[1], device=images.device)
    inside = (along[None, :, None] < sizes[:, :1, None]) & (along[None, None, :] < sizes[:, 1:, None])
    return torch.where(inside[:, None], normal, 0.0)


def _repeated(maps: Tensor, count: int) -> Tensor:
    return maps.expand(count, -1, -1, -1)
