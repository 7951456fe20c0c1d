"""Automatic masks equal, record for record, a plain reading of SAM's automatic mask generator."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage

from samgeo.geo.grid import Lattice, Rect
from samgeo.models.registry import Gates
from samgeo.segmentation.windows.automatic import automatic_masks, embed_window

SIDE, CELLS = 256, 64


@dataclass(frozen=True)
class Blobs:
    """A model whose answers are smooth random blobs around the click: some stable, some not, some with holes or islands."""

    seed: int = 0
    name: str = "blobs"
    digest: str = "none"
    input_size: int = SIDE

    def embed(self, images, sizes=None):
        return [self.seed] * len(images)

    def decode(self, embedding, *, points=None, labels=None, boxes=None, masks=None, multimask=True):
        cells = (np.arange(CELLS) + 0.5) * SIDE / CELLS
        logits, predicted = [], []
        for x, y in points[:, 0]:
            random = np.random.default_rng([embedding, int(x * 4), int(y * 4)])
            for radius in (10, 25, 60):
                distance = np.hypot(cells[None, :] - x, cells[:, None] - y)
                noise = ndimage.gaussian_filter(random.normal(size=(CELLS, CELLS)), 1.5) * random.choice([2, 8, 30])
                logits.append((radius * random.uniform(0.6, 1.2) - distance) * random.uniform(0.3, 2) + noise)
                predicted.append(random.choice([0.5, 0.8, 0.9, 0.95, round(random.uniform(0.4, 1), 2)]))
        shape = (len(points), 3)
        return (
            torch.tensor(np.array(logits), dtype=torch.float32).view(*shape, CELLS, CELLS),
            torch.tensor(predicted, dtype=torch.float32).view(shape),
        )


def plain_nms(boxes: np.ndarray, scores: np.ndarray, threshold: float) -> list[int]:
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept: list[int] = []
    for index in np.argsort(-scores, kind="stable"):
        for other in kept:
            low, high = np.maximum(boxes[index, :2], boxes[other, :2]), np.minimum(boxes[index, 2:], boxes[other, 2:])
            shared = np.prod(np.clip(high - low, 0, None))
            union = area[index] + area[other] - shared
            if union > 0 and shared / union > threshold:
                break
        else:
            kept.append(int(index))
    return kept


def inclusive_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return columns[0], rows[0], columns[-1], rows[-1]


def remove_small(mask: np.ndarray, minimum: int) -> tuple[np.ndarray, bool]:
    """``remove_small_regions`` of the reference, holes then islands."""
    changed = False
    for holes in (True, False):
        regions, count = ndimage.label(mask ^ holes, structure=np.ones((3, 3)))
        sizes = np.bincount(regions.ravel())[1:]
        small = [index + 1 for index, size in enumerate(sizes) if size < minimum]
        if not small:
            continue
        changed = True
        if holes:
            mask = mask | np.isin(regions, small)
        else:
            keep = [index for index in range(1, count + 1) if index not in small] or [int(np.argmax(sizes)) + 1]
            mask = np.isin(regions, keep)
    return mask, changed


def reference(model: Blobs, points: np.ndarray, gates: Gates, size: tuple[int, int]) -> list[tuple]:
    """Full frames, one list, greedy loops: the procedure as published, on one crop that is the image."""
    logits, predicted = model.decode(model.seed, points=points[:, None].astype(np.float32))
    full = F.interpolate(logits, (SIDE, SIDE), mode="bilinear", align_corners=False)[..., : size[0], : size[1]]
    records = []
    for prompt, token in np.ndindex(*predicted.shape):
        score = float(predicted[prompt, token])
        if score <= gates.pred_iou:
            continue
        frame = full[prompt, token].numpy()
        strict, loose = (frame > gates.stability_offset).sum(), (frame > -gates.stability_offset).sum()
        mask = frame > 0
        if not mask.any() or strict / loose < gates.stability:
            continue
        records.append([mask, score, strict / loose, prompt])
    if not records:
        return []
    records = [records[index] for index in plain_nms(*boxes_and(records, [r[1] for r in records]), gates.box_nms)]
    if gates.min_region_px:
        cleaned = [remove_small(record[0], gates.min_region_px) for record in records]
        records = [[mask, *record[1:]] for record, (mask, _) in zip(records, cleaned, strict=True)]
        unchanged = [float(not changed) for _, changed in cleaned]
        records = [records[index] for index in plain_nms(*boxes_and(records, unchanged), gates.box_nms)]
    records = sorted(records, key=lambda record: (-record[1], record[3]))
    kept: list[list] = []
    for record in records:
        if gates.mask_nms is None or all(frame_iou(record[0], one[0]) <= gates.mask_nms for one in kept):
            kept.append(record)
    return kept


def frame_iou(one: np.ndarray, other: np.ndarray) -> float:
    return (one & other).sum() / (one | other).sum()


def boxes_and(records: list, scores: list[float]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([inclusive_box(record[0]) for record in records], dtype=float), np.array(scores)


@pytest.mark.parametrize("min_region_px", [0, 40])
@pytest.mark.parametrize("size", [(SIDE, SIDE), (200, SIDE), (131, 77)])
@pytest.mark.parametrize(("seed", "mask_nms"), [(1, None), (2, None), (3, None), (1, 0.3), (2, 0.5)])
def test_records_equal_the_reference(seed: int, mask_nms: float | None, size: tuple[int, int], min_region_px: int) -> None:
    model, gates = Blobs(seed), Gates(12, 0.75, 0.6, min_region_px=min_region_px, mask_nms=mask_nms)
    points = Lattice(size, SIDE, 0).points(0, 0, gates.points_per_side)
    expected = reference(model, points, gates, size)
    embedding = embed_window(model, np.zeros((SIDE, SIDE, 3), np.uint8), size)
    found = automatic_masks(model, embedding, points, gates=gates, window=SIDE, size=size)
    assert len(expected) > 10
    assert [(one.predicted_iou, one.prompt) for one in found] == [(record[1], record[3]) for record in expected]
    for one, (mask, _, stability, _) in zip(found, expected, strict=True):
        frame = Rect(0, 0, size[1], size[0])
        assert np.array_equal(one.mask.to_array(frame), mask)
        assert one.stability_score == pytest.approx(stability, abs=1e-12)


def test_points_of_one_window_are_those_of_the_reference() -> None:
    """``build_point_grid(32)`` times 1024 are pixel indices; their centres lie half a pixel further."""
    offset = 1 / (2 * 32)
    axis = np.linspace(offset, 1 - offset, 32) * 1024
    points = Lattice((1024, 1024), 1024, 256).points(0, 0, 32)
    assert np.array_equal(points, np.stack([np.tile(axis, 32), np.repeat(axis, 32)], axis=1) + 0.5)


@dataclass(frozen=True)
class Twins:
    """A model that answers every click with one mask three times: alone, with a stray island, and shifted by a row."""

    mask: np.ndarray
    island: np.ndarray
    name: str = "twins"
    digest: str = "none"
    input_size: int = SIDE

    def embed(self, images, sizes=None):
        return [0] * len(images)

    def decode(self, embedding, *, points=None, labels=None, boxes=None, masks=None, multimask=True):
        kinds = np.stack([self.mask, self.mask | self.island, np.roll(self.mask, 1, axis=0)])
        logits = torch.tensor(np.where(kinds, 10.0, -10.0), dtype=torch.float32)
        scores = torch.tensor([0.9, 0.95, 0.99])
        return logits.expand(len(points), -1, -1, -1), scores.expand(len(points), -1)


@pytest.mark.parametrize("rows", [slice(20, 120), slice(20, 21)])
def test_near_identical_masks_are_one_whatever_their_boxes_say(rows: slice) -> None:
    """A stray island makes a box twice as large, and a mask of one row has a box without area in SAM's convention."""
    mask, island = np.zeros((2, SIDE, SIDE), dtype=bool)
    mask[rows, 30:130], island[rows.stop, 200:202] = True, True
    model = Twins(mask, island)
    embedding = embed_window(model, np.zeros((SIDE, SIDE, 3), np.uint8), (SIDE, SIDE))
    given = {"points": np.array([[35.5, 20.5], [99.5, 20.5]]), "window": SIDE, "size": (SIDE, SIDE)}
    found = automatic_masks(model, embedding, gates=Gates(), **given)
    off = automatic_masks(model, embedding, gates=Gates(mask_nms=None), **given)
    is_line = rows.stop - rows.start == 1
    # Shifted by its own height, a mask of one row is another object; it is asked for twice.
    assert [one.predicted_iou for one in found] == pytest.approx([0.99, 0.95] if is_line else [0.99])
    assert len(off) == (5 if is_line else 2)


def test_no_candidate_above_the_gate_gives_nothing() -> None:
    gates = Gates(4, 1.0, 0.9)
    points = Lattice((SIDE, SIDE), SIDE, 0).points(0, 0, 4)
    assert automatic_masks(Blobs(), 0, points, gates=gates, window=SIDE, size=(SIDE, SIDE)) == []
