"""Random weights under the names of the published checkpoints, which are the same on every machine and in every version."""

import math

import numpy as np
import torch

from samgeo.models.mobile_sam.architecture import MobileArchitecture, TinyVitSizes
from samgeo.models.mobile_sam.checkpoint import official_state
from samgeo.models.mobile_sam.model import MobileSamNetwork
from samgeo.models.sam1.architecture import Architecture
from samgeo.models.sam_hq.model import SamHqNetwork

# The published code fixes the input to 1024 pixels, the embedding to 256 channels, and the last stage to 320 or more.
PUBLISHED_TINY = TinyVitSizes(
    stem=8,
    widths=(16, 16, 32, 320),
    depths=(1, 1, 2, 1),
    hidden=(64, 16, 32, 320),
    heads=(0, 1, 2, 10),
    windows=(0, 7, 14, 7),
)
PUBLISHED = MobileArchitecture(PUBLISHED_TINY, decoder_mlp_width=96, iou_width=48)
# The smallest network that has every kind of layer. Its windows do not divide its grids.
SMALL = MobileArchitecture(
    TinyVitSizes(
        stem=4, widths=(8, 8, 16, 16), depths=(1, 2, 1, 1), hidden=(16, 16, 24, 32), heads=(0, 2, 4, 2), windows=(0, 3, 5, 2)
    ),
    grid=8,
    prompt_width=32,
    mask_channels=4,
    decoder_mlp_width=48,
    decoder_inner_width=16,
    iou_width=24,
)
SMALL_VIT = Architecture(
    width=32,
    depth=3,
    heads=2,
    mlp_width=128,
    global_blocks=(1, 2),
    window=3,
    grid=8,
    prompt_width=64,
    decoder_mlp_width=96,
    decoder_inner_width=32,
    iou_width=48,
)


def mobile_state(architecture=SMALL, seed=0):
    """Return the state of a MobileSAM of the published layout."""
    with torch.device("meta"):
        return drawn(official_state(MobileSamNetwork(architecture)), seed)


def hq_state(architecture=SMALL_VIT, seed=0):
    """Return the state of a SAM-HQ of the published layout."""
    with torch.device("meta"):
        network = SamHqNetwork(architecture)
    mobile = isinstance(architecture, MobileArchitecture)
    return drawn(official_state(network) if mobile else network.state_dict(), seed)


def drawn(state, seed=0):
    """Return random tensors of the names and shapes of a state, for which activations are neither huge nor tiny."""
    random = np.random.RandomState(seed)  # its numbers never change; those of the newer Generator may
    found = {}
    for name in sorted(state):
        shape = tuple(state[name].shape)
        values = random.standard_normal(shape)
        found[name] = torch.from_numpy(np.float32(scaled(name, shape, values)))
    return found


def scaled(name, shape, values):
    if name.endswith("running_var"):
        return 0.5 + values**2
    if name.endswith(("attention_biases", "gaussian_matrix")):
        return values
    if name.endswith(("bias", "running_mean", "rel_pos_h", "rel_pos_w", "pos_embed")):
        return 0.1 * values
    if len(shape) == 1:
        return 1 + 0.1 * values
    if name.endswith(("token.weight", "tokens.weight", "embed.weight")) or "point_embeddings" in name:
        return 0.5 * values
    transposed = ("output_upscaling", "compress_vit_feat", "embedding_encoder")
    inputs = shape[0] if any(part in name for part in transposed) else math.prod(shape[1:])
    return values / math.sqrt(inputs)


def pixels(count, side, seed=1):
    """Return random images."""
    return np.random.RandomState(seed).randint(0, 256, (count, side, side, 3)).astype(np.uint8)
