"""Fit of the screen of points of the bundled model: see `samgeo.models.tiny.point_screen`.

    python -m samgeo.training.point_screen DATA tiny-screen.safetensors

Windows are drawn from the training pictures of the bundled model, as in its training. The model decodes a lattice of points in
each, and a small network learns from the features at a point how high the best predicted IoU of its candidates is.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from samgeo.models.tiny import Tiny, load_tiny
from samgeo.models.tiny.encoder import Features
from samgeo.models.tiny.point_screen import PointScreen, save_screen
from samgeo.models.tiny.prompt_encoder import features_at
from samgeo.training.data.examples import Source, draw
from samgeo.training.data.overhead_recipe import sources

__all__ = ["Decoded", "choose_least_chance", "collect", "fit"]

POINTS_PER_SIDE = 24
# Thresholds of predicted IoU that are learned.
LEAST_IOU, MOST_IOU = 0.25, 0.85
HIDDEN, STEPS, BATCH, RATE, DROPOUT = 64, 2500, 2048, 2e-3, 0.1
# Of the points that give a mask above the default threshold, this share may be left out in places that gave no training window.
LOST = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """Points of one window, decoded.

    Attributes
    ----------
    source : str
        Name of the source of the picture.
    features : tensor, shape (P, C)
        Features at the points.
    best : tensor, shape (P,)
        Highest predicted IoU among the candidates of each point.
    """

    source: str
    features: Tensor
    best: Tensor


@torch.inference_mode()
def collect(model: Tiny, drawn_from: Sequence[Source], windows: int, rng: np.random.Generator) -> list[Decoded]:
    """Draw windows, the same number from each source, and decode a lattice of points in each.

    Parameters
    ----------
    model : Tiny
        The model.
    drawn_from : sequence of Source
        Pictures; their objects are not used.
    windows : int
        Number of windows in all.
    rng : numpy.random.Generator
        The same state gives the same windows.
    """
    collected = []
    side = model.input_size
    for number in range(windows):
        source = drawn_from[number % len(drawn_from)]
        image = draw([source], side, 1, rng).image
        step = side / POINTS_PER_SIDE
        along = np.arange(POINTS_PER_SIDE) * step
        points = np.stack(np.meshgrid(along, along), -1).reshape(-1, 1, 2) + rng.uniform(0, step, 2)
        embedding = model.embed(image[None])[0]
        clicks = torch.from_numpy(points.astype(np.float32))
        collected.append(Decoded(source.name, features_at(embedding, clicks)[:, 0], best_predicted(model, embedding, clicks)))
    return collected


def best_predicted(model: Tiny, embedding: Features, clicks: Tensor) -> Tensor:
    """Return the highest predicted IoU among the candidates of each of the clicks ``(P, 1, 2)``, without drawing masks."""
    window = model.network.window(embedding)
    rows = (
        model.network.decode(window, row, row.new_ones(len(row), 1).long())[1] for row in torch.split(clicks, POINTS_PER_SIDE)
    )
    return torch.cat([decoded.predicted_iou[:, 1:].amax(1) for decoded in rows])


def fit(decoded: Sequence[Decoded], *, model: str, least_chance: float = 0.5, seed: int = 0) -> PointScreen:
    """Fit a screen to decoded points; every source counts the same.

    The loss is the cross-entropy of whether the best predicted IoU exceeds a threshold that is drawn anew for each point.

    Parameters
    ----------
    decoded : sequence of Decoded
        From `collect`.
    model : str
        Digest of the weights of the model that decoded them.
    least_chance : float, default 0.5
        The chance below which a point is left out, which the screen records.
    seed : int, default 0
        The same seed gives the same screen.
    """
    features, best = torch.cat([one.features for one in decoded]), torch.cat([one.best for one in decoded])
    windows = {name: sum(one.source == name for one in decoded) for name in {one.source for one in decoded}}
    weights = torch.cat([torch.full((len(one.best),), 1 / windows[one.source] / len(one.best)) for one in decoded])
    middle, spread = features.mean(0), features.std(0) + 1e-3
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        screen = PointScreen(features.shape[1], HIDDEN, model=model, least_chance=least_chance)
        optimizer = torch.optim.AdamW(screen.parameters(), RATE, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, STEPS)
        for _ in range(STEPS):
            rows = torch.multinomial(weights, BATCH, replacement=True, generator=generator)
            threshold = torch.empty(BATCH).uniform_(LEAST_IOU, MOST_IOU, generator=generator)
            given = functional.dropout((features[rows] - middle) / spread, DROPOUT)
            loss = functional.binary_cross_entropy_with_logits(screen(given, threshold), (best[rows] > threshold).float())
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        # The normalization of the features becomes part of the first layer.
        first = cast("nn.Linear", screen.layers[0])
        first.weight.div_(spread)
        first.bias.sub_(first.weight @ middle)
    return screen.eval().requires_grad_(requires_grad=False)


def choose_least_chance(decoded: Sequence[Decoded], *, min_iou: float, lost: float = LOST) -> tuple[float, dict[str, float]]:
    """Choose the chance below which points are left out, on places that the screen was not fitted to.

    Each source is left out in turn. Of the points whose best predicted IoU exceeds ``min_iou``, the share ``lost`` has a lower
    chance in the mean over the sources.

    Returns
    -------
    least_chance : float
    left_out : dict of str to float
        Share of all points of each source that are left out with it.
    """
    chances = {}
    for name in sorted({one.source for one in decoded}):
        screen = fit([one for one in decoded if one.source != name], model="")
        own = [one for one in decoded if one.source == name]
        features, best = torch.cat([one.features for one in own]), torch.cat([one.best for one in own])
        with torch.inference_mode():
            chances[name] = (screen(features, torch.full((len(features),), min_iou)).sigmoid(), best > min_iou)
    grid = np.geomspace(1e-3, 0.3, 200)
    passed = [chance[passing] for chance, passing in chances.values()]
    share = [float(np.mean([(chance < least).float().mean() for chance in passed])) for least in grid]
    least = float(grid[max(int(np.searchsorted(share, lost, side="right")) - 1, 0)])
    return least, {name: float((chance < least).float().mean()) for name, (chance, _) in chances.items()}


def main() -> None:
    """Collect, choose, fit and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder with the data sets")
    parser.add_argument("output", type=Path)
    parser.add_argument("--windows", type=int, default=360)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    model = load_tiny(device="cpu", dtype="float32")
    decoded = collect(model, sources(options.data, scenes=40), options.windows, np.random.default_rng(options.seed))
    least, left_out = choose_least_chance(decoded, min_iou=0.55)
    for name, share in left_out.items():
        sys.stdout.write(f"{name}: {share:.0%} of the points are left out\n")
    digest = save_screen(fit(decoded, model=model.digest, least_chance=least), options.output)
    sys.stdout.write(f"least chance {least:.4f}; {options.output} has the digest {digest[:12]}\n")


if __name__ == "__main__":
    main()
