"""Conversion of MedSAM's weights, which expect other pixel values than SAM 1, to weights that samgeo uses as any SAM 1."""

from __future__ import annotations

from pathlib import Path

import torch

from samgeo.arguments import check_types
from samgeo.models.preprocessing import PIXEL_MEAN, PIXEL_STD
from samgeo.models.sam1.checkpoint import load_checkpoint, write_checkpoint
from samgeo.models.weights_files import file_digest
from samgeo.storage.atomic import check_new

__all__ = ["convert_medsam"]

PATCHES = "image_encoder.patch_embed.proj."


@check_types
def convert_medsam(source: str | Path, output: str | Path, *, overwrite: bool = False) -> str:
    """Convert weights of MedSAM to weights that compute the same from pixels that are normalised as for SAM 1.

    MedSAM (arXiv:2304.12306) has the architecture and the names of SAM 1 ViT-B, but its published code gives it pixels from
    0 to 1, and not pixels less their mean and divided by their standard deviation. Such a file also loads without a conversion,
    but its answers are then not those of MedSAM. With ``x = (p - mean) / std`` for a pixel ``p`` from 0 to 255, ``p / 255`` is
    ``x std / 255 + mean / 255``, which is linear, and becomes a part of the first convolution: its weights are multiplied by
    ``std / 255``, and their products with ``mean / 255`` are added to its bias.

    The published code also stretches each image to 0 to 1 by its lowest and highest value, and enlarges it to 1024 x 1024
    pixels. Neither is a part of the weights: use ``stretch`` for the first, and ``zoom`` or an enlarged image for the second.

    Parameters
    ----------
    source : str or Path
        The file of MedSAM, or a folder as transformers writes it.
    output : str or Path
        A ``.safetensors`` for the converted weights, which `samgeo.load_model` reads.
    overwrite : bool, default False
        Whether an existing output may be replaced.

    Returns
    -------
    str
        The SHA-256 of the output.

    Raises
    ------
    CheckpointError
        If the source cannot be read, or is no SAM 1.
    OptionError
        If the output cannot be written.

    Examples
    --------
    >>> from samgeo.models import convert_medsam
    >>> convert_medsam("medsam_vit_b.pth", "medsam.safetensors")
    Traceback (most recent call last):
    ...
    samgeo.errors.CheckpointError: there is no file medsam_vit_b.pth; give the path of a checkpoint, or a name from ...
    """
    path = check_new(output, ".safetensors", overwrite=overwrite, inputs=[source])
    checkpoint = load_checkpoint(source)
    weight, bias = (checkpoint.weights[PATCHES + part] for part in ("weight", "bias"))
    # In float64, so that the products are not rounded twice.
    mean, std = (torch.tensor(values, dtype=torch.float64)[:, None, None] / 255 for values in (PIXEL_MEAN, PIXEL_STD))
    added = (weight.double() * mean).sum((1, 2, 3))
    changed = {PATCHES + "weight": (weight.double() * std).float(), PATCHES + "bias": (bias.double() + added).float()}
    write_checkpoint({**checkpoint.weights, **changed}, checkpoint.architecture, path)
    return file_digest(path)
