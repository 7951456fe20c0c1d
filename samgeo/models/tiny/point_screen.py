"""Screen of points: the chance that a click gives a mask above a predicted IoU, from the features at the click alone.

Decoding a point takes thousands of times as long as this, and most points of a lattice give no mask that is kept.
"""

from __future__ import annotations

import hashlib
import json
import math
from importlib.resources import as_file, files
from pathlib import Path

from safetensors.torch import save
from torch import Tensor, nn

from samgeo.errors import CheckpointError
from samgeo.models.weights_files import read_tensors, sorted_header, weights_file
from samgeo.storage.atomic import check_new, write_whole

__all__ = ["PointScreen", "bundled_screen", "load_screen", "save_screen"]

ARCHITECTURE = "samgeo-point-screen"
BUNDLED = "tiny-screen.safetensors"


class PointScreen(nn.Module):
    """Network that predicts the highest predicted IoU among the candidates of a click, as a distribution.

    The chance that it exceeds a threshold ``t`` is ``sigmoid(level - slope * logit(t))``: a logistic distribution of its logit.

    Parameters
    ----------
    inputs : int
        Number of features at a point.
    hidden : int
        Channels of the two hidden layers.
    model : str
        Digest of the weights of the model whose features and predicted IoU it was fitted to.
    least_chance : float
        A point whose chance is below this need not be decoded.

    Examples
    --------
    >>> import torch
    >>> from samgeo.models.tiny.point_screen import PointScreen
    >>> screen = PointScreen(224, 64, model="", least_chance=0.02)
    >>> tuple(screen.passes(torch.zeros(5, 224), 0.55).shape)
    (5,)
    """

    def __init__(self, inputs: int, hidden: int, *, model: str, least_chance: float) -> None:
        super().__init__()
        self.model, self.least_chance = model, least_chance
        self.layers = nn.Sequential(
            nn.Linear(inputs, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, 2)
        )

    def forward(self, features: Tensor, threshold: Tensor) -> Tensor:
        """Return the logit of the chance that each point, ``(P, C)``, gives a mask above its threshold, ``(P,)``."""
        level, slope = self.layers(features).unbind(-1)
        logits: Tensor = level - nn.functional.softplus(slope) * threshold.logit(eps=1e-6)
        return logits

    def passes(self, features: Tensor, min_iou: float) -> Tensor:
        """Return which points, ``(P, C)``, are likely enough to give a mask above ``min_iou``: bool, shape (P,)."""
        least = math.log(self.least_chance / (1 - self.least_chance))
        passing: Tensor = self(features, features.new_full((len(features),), min_iou)) >= least
        return passing


def bundled_screen(model: str) -> PointScreen | None:
    """Return the screen of the package if it was fitted to the weights with this digest, else None."""
    with as_file(files("samgeo.models") / "weights" / BUNDLED) as packaged:
        screen = load_screen(packaged)
    return screen if screen.model == model else None


def load_screen(path: Path) -> PointScreen:
    """Load a screen that `save_screen` wrote.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, or no screen.
    """
    tensors, header = read_tensors(weights_file(path))
    state = {name: tensor.float() for name, tensor in tensors.items()}
    if header.get("architecture") != ARCHITECTURE:
        raise CheckpointError(
            f"{path} is no point screen: its header says architecture {header.get('architecture')!r}, not {ARCHITECTURE!r}."
        )
    try:
        hidden, inputs = state["layers.0.weight"].shape
        screen = PointScreen(inputs, hidden, model=header["model"], least_chance=float(json.loads(header["least_chance"])))
        screen.load_state_dict(state)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"the point screen {path} is damaged: {error}.") from None
    if not 0 < screen.least_chance < 1 or not all(tensor.isfinite().all() for tensor in state.values()):
        raise CheckpointError(f"the point screen {path} has numbers that are not finite or no chance between 0 and 1.")
    return screen.eval().requires_grad_(requires_grad=False)


def save_screen(screen: PointScreen, path: str | Path, *, overwrite: bool = False) -> str:
    """Write a screen in half precision, and return the SHA-256 of the file.

    Raises
    ------
    OptionError
        If the name does not end in ``.safetensors``, or the file exists and may not be replaced.
    """
    to = check_new(path, ".safetensors", overwrite=overwrite)
    header = {"architecture": ARCHITECTURE, "model": screen.model, "least_chance": json.dumps(screen.least_chance)}
    halves = {name: tensor.detach().half().contiguous() for name, tensor in screen.state_dict().items()}
    content = sorted_header(save(halves, header))
    write_whole(to, content)
    return hashlib.sha256(content).hexdigest()
