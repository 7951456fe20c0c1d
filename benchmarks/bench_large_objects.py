"""Objects larger than a window: the IoU of boxes and clicks with windows of one scale and of several scales.

    python benchmarks/bench_large_objects.py [--kinds field hall lake] [--spans 2 4 8] [--pictures FOLDER]

Each scene is a generated town with one field, hall or lake, whose longer side is 2, 4 or 8 windows of the bundled model. A box
is the exact bounding box. One click is the innermost point, another is at a random place; three clicks are at random places and
are one prompt. "One scale" is ``scales=(1,)``, and "auto" is the default. Buildings of the town, which fit a window, are
prompted with both predictors, too: their outlines have to be equal to the byte where one scale finds the whole object.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import shapely

import samgeo
from samgeo.geo.grid import Rect
from samgeo.models import keep_freed_memory
from samgeo.segmentation.masks.mask import Mask, iou
from samgeo.segmentation.masks.outline_prompts import interior_points
from samgeo.segmentation.masks.vectorize import polygons
from samgeo.synthetic import town
from samgeo.synthetic.painting.canvas import burn, noise

keep_freed_memory()  # as the command line does

WINDOW, MARGIN, TOWN = 512, 400, 1024
PROMPTS = ("box", "click in the middle", "click at random", "three clicks")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", choices=sorted(PAINTERS), default=sorted(PAINTERS))
    parser.add_argument("--spans", type=int, nargs="+", default=(2, 4, 8), help="longer side of the object in windows")
    parser.add_argument("--seeds", type=int, nargs="+", default=(1,))
    parser.add_argument("--prompts", nargs="+", choices=PROMPTS, default=PROMPTS)
    parser.add_argument("--buildings", type=int, default=40, help="how many buildings are prompted; 0 leaves them out")
    parser.add_argument("--pictures", type=Path, help="a folder for a PNG of each scene with the answers to the box")
    options = parser.parse_args()
    print("| object | windows | seed | prompt | one scale | auto | scale | complete | processor s | processor s, auto |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    same, compared = 0, 0
    for seed in options.seeds:
        place = town((TOWN, TOWN), seed=seed)
        for kind in options.kinds:
            for span in options.spans:
                image, truth = paint(kind, span * WINDOW, seed, place.image)
                name = f"{kind} | {span} | {seed}"
                judge(name, image, truth, kinds=options.prompts, pictures=options.pictures)
                equal, of = small_objects(image, truth, place, options.buildings)
                same, compared = same + equal, compared + of
    print(f"\nequal to the byte: {same} of {compared} outlines of objects that fit a window")


def paint(kind: str, across: int, seed: int, tile: np.ndarray) -> tuple[np.ndarray, Mask]:
    """Paint an object in the middle of a town, which is mirrored as often as needed, and return the image and the object."""
    rng = np.random.default_rng([seed, across, sorted(PAINTERS).index(kind)])
    side = across + 2 * MARGIN
    pair = np.concatenate([tile, tile[:, ::-1]], axis=1)
    block = np.concatenate([pair, pair[::-1]])
    times = math.ceil(side / len(block))
    image = np.tile(block, (times, times, 1))[:side, :side].astype(np.float32)
    inside = PAINTERS[kind](image, across, rng)
    image += rng.normal(0, 2.0, image.shape).astype(np.float32)
    return np.clip(np.round(image), 0, 255).astype(np.uint8), Mask.from_array(inside)


def field(image: np.ndarray, across: int, rng: np.random.Generator) -> np.ndarray:
    """Paint crops in rows, with wheel tracks, and a path around them."""
    side = len(image)
    angles = np.sort(np.linspace(0, 2 * math.pi, 7)[:-1] + rng.uniform(-0.25, 0.25, 6))
    ring = np.column_stack([np.cos(angles), 0.8 * np.sin(angles)]) * rng.uniform(0.85, 1.0, (6, 1))
    shape = placed(shapely.Polygon(ring), across, rng)
    inside, path = burned(shape, side), burned(shape.buffer(9), side)
    on, between = (((196, 172, 110), (176, 150, 92)), ((88, 118, 58), (116, 116, 72)), ((142, 112, 88), (118, 92, 72)))[
        rng.integers(3)
    ]
    y, x = np.ogrid[:side, :side]
    turn = rng.uniform(0, math.pi)
    along = (x * math.cos(turn) + y * math.sin(turn)).astype(np.float32) + 3 * noise(rng, image.shape[:2], 130)
    cover = np.clip(0.5 + 0.7 * (np.sin(along * (2 * math.pi / 5)) + 0.4 * noise(rng, image.shape[:2], 2)), 0, 1)
    cover *= np.where(np.abs(np.abs(along / 60 % 1 - 0.5) * 60 - 3) < 1, 0.3, 1.0)
    tone = 1 + 0.04 * noise(rng, image.shape[:2], 9) + 0.03 * noise(rng, image.shape[:2], 33)
    tone += 0.03 * noise(rng, image.shape[:2], 300)
    image[path] = np.array((168, 150, 122)) * tone[path][:, None]
    mixed = cover[..., None] * np.array(on, np.float32) + (1 - cover[..., None]) * np.array(between, np.float32)
    image[inside] = (mixed * tone[..., None])[inside]
    return inside


def hall(image: np.ndarray, across: int, rng: np.random.Generator) -> np.ndarray:
    """Paint a roof of two slopes with ribs and skylights, its shadow, and a paved yard."""
    side = len(image)
    half = np.array([1.0, rng.uniform(0.45, 0.7)])
    shape = placed(shapely.box(*-half, *half), across, rng)
    corners = shapely.get_coordinates(shape)[:4]
    inside = burned(shape, side)
    yard = burned(shape.buffer(40, join_style="mitre"), side)
    shadow = burned(shapely.union_all([shapely.affinity.translate(shape, step, step) for step in range(0, 26, 2)]), side)
    image[yard] = np.array((150, 148, 144)) * (1 + 0.03 * noise(rng, image.shape[:2], 9))[yard][:, None]
    image[shadow] *= 0.45
    long, short = corners[1] - corners[0], corners[3] - corners[0]
    if np.hypot(*long) < np.hypot(*short):
        long, short = short, long
    y, x = np.ogrid[:side, :side]
    offset = corners[0]
    s = ((x - offset[0]) * long[0] + (y - offset[1]) * long[1]) / np.hypot(*long)
    t = ((x - offset[0]) * short[0] + (y - offset[1]) * short[1]) / np.dot(short, short)
    roof = np.where(t > 0.5, 0.95, 1.05) * (1 + 0.03 * np.sign(np.sin(s * 2 * math.pi / 14)))
    roof *= 1 + 0.02 * noise(rng, image.shape[:2], 60) + 0.015 * noise(rng, image.shape[:2], 400)
    colour = np.array(((178, 180, 182), (120, 134, 150), (200, 196, 186))[rng.integers(3)], dtype=np.float32)
    image[inside] = colour * roof.astype(np.float32)[inside][:, None]
    light = inside & (np.abs(s % 90 - 45) < 8) & (np.abs(np.abs(t - 0.5) - 0.25) < 0.15)
    image[light] = (214, 222, 224)
    return inside


def lake(image: np.ndarray, across: int, rng: np.random.Generator) -> np.ndarray:
    """Paint water with a shore of reeds."""
    side = len(image)
    angles = np.linspace(0, 2 * math.pi, 400, endpoint=False)
    radius = np.ones(400)
    for order in range(2, 9):
        radius += rng.normal(0, 0.35 / order) * np.cos(order * angles + rng.uniform(0, 2 * math.pi))
    radius = np.maximum(radius, 0.35)
    shape = placed(shapely.Polygon(np.column_stack([np.cos(angles), np.sin(angles)]) * radius[:, None]), across, rng)
    inside, shore = burned(shape, side), burned(shape.buffer(12), side)
    ripple = 1 + 0.03 * noise(rng, image.shape[:2], 3) + 0.03 * noise(rng, image.shape[:2], 40)
    depth = 1 + 0.08 * noise(rng, image.shape[:2], 500)
    image[shore] = np.array((112, 116, 74)) * (1 + 0.12 * noise(rng, image.shape[:2], 4))[shore][:, None]
    image[inside] = np.array((62, 86, 92)) * (ripple * depth)[inside][:, None]
    return inside


PAINTERS = {"field": field, "hall": hall, "lake": lake}


def placed(shape: shapely.Geometry, across: int, rng: np.random.Generator) -> shapely.Geometry:
    """Return a shape turned by a random angle, with a longer side of ``across`` pixels, in the middle of the scene."""
    turned = shapely.affinity.rotate(shape, rng.uniform(0, 360))
    x0, y0, x1, y1 = turned.bounds
    factor = across / max(x1 - x0, y1 - y0)
    scaled = shapely.affinity.scale(turned, factor, factor)
    middle = across / 2 + MARGIN
    x0, y0, x1, y1 = scaled.bounds
    return shapely.affinity.translate(scaled, middle - (x0 + x1) / 2, middle - (y0 + y1) / 2)


def burned(shape: shapely.Geometry, side: int) -> np.ndarray:
    return burn([shape], None, (side, side), 1.0) > 0


def judge(name: str, image: np.ndarray, truth: Mask, *, kinds: Sequence[str], pictures: Path | None) -> None:
    """Print the IoU of each prompt."""
    rng = np.random.default_rng(0)
    rect = truth.rect
    pixels = truth.to_array(rect)
    rows, columns = np.nonzero(pixels)
    picked = rng.choice(len(rows), 4, replace=False)
    random = np.column_stack([columns[picked] + rect.x0, rows[picked] + rect.y0]) + 0.5
    middle = interior_points(polygons([truth]).tolist())
    prompts = {
        "box": {"boxes": [(rect.x0, rect.y0, rect.x1, rect.y1)]},
        "click in the middle": {"points": middle},
        "click at random": {"points": random[:1]},
        "three clicks": {"points": random[None, 1:]},
    }
    prompts = {kind: prompts[kind] for kind in kinds}
    rates: dict[str, list[str]] = {kind: [] for kind in prompts}
    seconds: dict[str, list[str]] = {kind: [] for kind in prompts}
    drawn = []
    for scales in ((1,), "auto"):
        predictor = samgeo.Predictor(image, scales=scales, threads=1)
        for kind, given in prompts.items():
            begun = time.process_time()
            (answer,) = predictor.predict_masks(crs="pixels", **given)
            seconds[kind].append(f"{time.process_time() - begun:.1f}")
            rates[kind].append("0" if isinstance(answer, str) else f"{iou(answer.mask, truth):.3f}")
            if scales == "auto":
                rates[kind] += (
                    [answer, ""] if isinstance(answer, str) else [str(answer.scale), "yes" if answer.complete else "no"]
                )
            if kind == "box" and not isinstance(answer, str):
                drawn.append(answer.mask)
    for kind in prompts:
        print(f"| {name} | {kind} | {' | '.join([*rates[kind], *seconds[kind]])} |", flush=True)
    if pictures is not None:
        pictures.mkdir(parents=True, exist_ok=True)
        show(pictures / f"{name.replace(' | ', '-')}.png", image, truth, drawn)


def small_objects(image: np.ndarray, truth: Mask, place: samgeo.synthetic.Scene, most: int) -> tuple[int, int]:
    """Prompt buildings of the town that are apart from the object.

    Returns
    -------
    (int, int)
        How many outlines do not depend on the scales, and how many one scale shows whole.
    """
    outlines = shapely.transform(
        place.footprints.geometry.to_numpy(), lambda xy: np.column_stack(~place.geobox.affine * (xy[:, 0], xy[:, 1]))
    )
    bounds, rect = shapely.bounds(outlines), truth.rect
    apart = np.flatnonzero((bounds[:, 2] < rect.x0) | (bounds[:, 3] < rect.y0))[:most]
    if not len(apart):
        return 0, 0
    answers: list[list[tuple[bytes, bool]]] = []
    for scales in ((1,), "auto"):
        predictor = samgeo.Predictor(image, scales=scales, threads=1)
        answers.append([])
        for given in ({"boxes": bounds[apart]}, {"points": interior_points(outlines[apart].tolist())}):
            frame = predictor.predict(crs="pixels", **given)
            answers[-1] += zip(frame.geometry.to_wkb(), frame.complete & ~frame.geometry.is_empty, strict=True)
    whole = [(outline, other) for (outline, is_whole), (other, _) in zip(*answers, strict=True) if is_whole]
    return sum(outline == other for outline, other in whole), len(whole)


def show(path: Path, image: np.ndarray, truth: Mask, drawn: list[Mask]) -> None:
    """Write the scene, and beside it the answers of one scale and of several; red is too much, yellow is missing."""
    from PIL import Image

    frame = Rect(0, 0, image.shape[1], image.shape[0])
    step = max(len(image) // 700, 1)
    small = image[::step, ::step]
    panels, wanted = [small], truth.to_array(frame)[::step, ::step]
    for mask in drawn:
        panel, got = small.copy(), mask.to_array(frame)[::step, ::step]
        for where, colour in ((got & wanted, (40, 90, 255)), (got & ~wanted, (255, 30, 30)), (~got & wanted, (255, 220, 0))):
            panel[where] = panel[where] // 2 + np.array(colour, dtype=np.uint8) // 2
        panels.append(panel)
    Image.fromarray(np.concatenate(panels, axis=1)).save(path)


if __name__ == "__main__":
    main()
