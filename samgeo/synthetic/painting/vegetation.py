"""Painting of trees: irregular crowns with height, so that they get light and cast shadows as other objects do."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from samgeo.synthetic.painting.canvas import CLASSES, Canvas, Streams, noise
from samgeo.synthetic.plan import Tree

__all__ = ["paint_trees"]

_GREENS = np.array(
    [(76, 96, 50), (62, 84, 44), (90, 106, 58), (100, 108, 64), (56, 76, 46), (84, 96, 64), (112, 112, 62), (72, 90, 58)],
    dtype=np.float32,
)


def paint_trees(canvas: Canvas, trees: list[Tree], streams: Streams) -> None:
    """Paint crowns, low ones first. Roofs are painted later, so crowns do not hide them."""
    shapes: dict[tuple[int, int], tuple[NDArray[np.float32], NDArray[np.float32]]] = {}
    for number in sorted(range(len(trees)), key=lambda one: trees[one].height):
        tree, rng = trees[number], streams.of("tree", number)
        radius = max(round(tree.radius * canvas.scale), 3)
        key = radius, int(rng.integers(4)) + (4 if tree.kind > 0.86 else 0)
        if key not in shapes:
            shapes[key] = _crown(radius, streams.of("crown", *key), conifer=key[1] >= 4)
        turn, flip = int(rng.integers(4)), bool(rng.random() < 0.5)
        dome, leaves = (np.rot90(one[:, ::-1] if flip else one, turn) for one in shapes[key])
        _stamp(canvas, tree, dome * tree.height, leaves, _green(tree, rng))


def _green(tree: Tree, rng: np.random.Generator) -> NDArray[np.float32]:
    if tree.kind > 0.86:
        return np.array((52, 70, 46), np.float32) * float(rng.normal(1, 0.08))
    base = _GREENS[int(tree.kind * 997) % len(_GREENS)]
    return np.asarray(base * rng.normal(1, 0.09) + rng.normal(0, 3, 3), dtype=np.float32)


def _crown(radius: int, rng: np.random.Generator, *, conifer: bool) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the height of a crown as a share of the tree's height, 0 outside, and the brightness of its leaves."""
    reach = int(radius * 1.35) + 2
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float32)
    angle, distance = np.arctan2(y, x), np.hypot(x, y)
    edge = np.ones_like(angle)
    for order in range(2, 9):
        edge += rng.normal(0, 0.10 / order**0.6) * np.cos(order * angle + rng.uniform(0, 6.3))
    lumps = noise(rng, angle.shape, max(radius / 3.2, 1.5))
    leaves = noise(rng, angle.shape, 1.6)
    rho = distance / (radius * edge * (1 + 0.07 * lumps))
    dome = np.clip(1 - rho, 0, 1) if conifer else np.sqrt(np.clip(1 - rho**2, 0, 1))
    rough = 1 + (0.08 if conifer else 0.17) * lumps + 0.07 * leaves
    height = np.where(rho < 1, 0.42 + 0.58 * dome * rough, 0)
    height[(rho > 0.8) & (leaves > 1.0)] = 0  # light falls through at the rim
    return height.astype(np.float32), (1 + 0.15 * leaves + 0.10 * lumps).astype(np.float32)


def _stamp(
    canvas: Canvas, tree: Tree, height: NDArray[np.float32], leaves: NDArray[np.float32], green: NDArray[np.float32]
) -> None:
    reach = height.shape[0] // 2
    column, row = round(tree.x * canvas.scale), round(tree.y * canvas.scale)
    h, w = canvas.ids.shape
    top, bottom = max(row - reach, 0), min(row + reach + 1, h)
    left, right = max(column - reach, 0), min(column + reach + 1, w)
    if top >= bottom or left >= right:
        return
    cut = slice(top - row + reach, bottom - row + reach), slice(left - column + reach, right - column + reach)
    window = slice(top, bottom), slice(left, right)
    slope_y, slope_x = np.gradient(height * canvas.scale)
    # Leaves scatter light, so slopes change the light on crowns less than on roofs, and the shaded side stays green.
    facing = 0.35 + 0.65 * canvas.sun.on(slope_x * 0.33, slope_y * 0.33)
    seen = (height[cut] > 0) & (height[cut] > canvas.height[window]) & (canvas.classes[window] != CLASSES.index("building"))
    canvas.colour[window][seen] = (leaves[cut][..., None] * green)[seen]
    canvas.height[window][seen] = height[cut][seen]
    canvas.facing[window][seen] = facing[cut][seen]
    canvas.classes[window][seen] = CLASSES.index("tree")
