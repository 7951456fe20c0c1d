"""From logits to clean masks: gating and upsampling, box suppression and small regions, each beside the usual way, in turns.

    python benchmarks/bench_masks.py [--points 64] [--boxes 3567] [--repeats 5]

The logits are those of the bundled model on a generated town, as large as SAM's. The usual ways are those of segment_anything
1.0 (``postprocess_masks``, ``calculate_stability_score``, ``remove_small_regions``), and for boxes a row at a time, a table of
all pairs, and a tree, written plainly. All must give the same masks or boxes.
"""

from __future__ import annotations

import argparse

import numpy as np
import shapely
import torch
from _peers import batched_nms
from _turns import in_turns, say
from torch.nn import functional

import samgeo
from samgeo.geo.grid import Rect
from samgeo.models import keep_freed_memory
from samgeo.segmentation.masks.cleaning import fill_and_drop
from samgeo.segmentation.masks.mask import Mask
from samgeo.segmentation.masks.nms import box_nms
from samgeo.segmentation.masks.upsample import masks_from_logits
from samgeo.synthetic import town

keep_freed_memory()  # as the command line does

SIDE, LOW = 1024, 256
MIN_IOU, MIN_STABILITY, OFFSET, NMS_IOU, MIN_REGION = 0.5, 0.6, 1.0, 0.7, 100

Answers = tuple[torch.Tensor, torch.Tensor]


def answers(count: int) -> Answers:
    """Logits (P, 3, 256, 256) and predicted IoU (P, 3) of the bundled model for random clicks on a town."""
    tiny = samgeo.load_model("tiny", device="cpu", dtype="float32")
    image = np.ascontiguousarray(town((SIDE, SIDE), seed=1).image[::2, ::2])
    points = np.random.default_rng(0).uniform(0, SIDE / 2, (count, 1, 2)).astype(np.float32)
    logits, scores = tiny.decode(tiny.embed(image[None])[0], points=points, labels=np.ones((count, 1), dtype=np.int64))
    return functional.interpolate(logits, size=(LOW, LOW), mode="bilinear", align_corners=False), scores


def ours_gated(given: Answers) -> list[Mask]:
    logits, scores = given
    passing = logits[scores > MIN_IOU]
    size = (SIDE, SIDE)
    made = masks_from_logits(passing, input_size=SIDE, window=SIDE, size=size, offset=OFFSET, min_stability=MIN_STABILITY)
    return list(made.masks)


@torch.inference_mode()
def whole_frames(given: Answers) -> list[np.ndarray]:
    """As segment_anything: every mask to a whole frame, then the gates and the boxes."""
    logits, scores = given
    frames = functional.interpolate(logits, size=(SIDE, SIDE), mode="bilinear", align_corners=False).flatten(0, 1)
    frames = frames[scores.flatten() > MIN_IOU]
    strict, loose = (frames > OFFSET).sum((1, 2)), (frames > -OFFSET).sum((1, 2))
    masks = frames[strict / loose >= MIN_STABILITY] > 0
    return [mask.numpy() for mask in masks[masks.any(2).any(1)]]


def gated_frames(given: Answers) -> list[np.ndarray]:
    """The same, with the gate of predicted IoU first."""
    logits, scores = given
    passing = scores > MIN_IOU
    return whole_frames((logits[passing][:, None], scores[passing][:, None]))


def crowd(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Boxes as automatic segmentation makes them: about six near copies of each object, and some by themselves."""
    rng = np.random.default_rng(0)
    objects = rng.uniform(0, SIDE, (count // 6, 2)), rng.lognormal(3.3, 0.6, (count // 6, 2))
    which = rng.integers(0, len(objects[0]), count)
    corner, sides = objects[0][which] + rng.normal(0, 2, (count, 2)), objects[1][which] * rng.uniform(0.9, 1.1, (count, 2))
    return np.concatenate([corner, corner + sides], axis=1), rng.uniform(0, 1, count)


def ious(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """IoU of each pair, of any shapes that broadcast."""
    sides = np.minimum(boxes[..., 2:], others[..., 2:]) - np.maximum(boxes[..., :2], others[..., :2])
    shared = np.prod(np.maximum(sides, 0), axis=-1)
    area, other = (np.prod(one[..., 2:] - one[..., :2], axis=-1) for one in (boxes, others))
    return np.asarray(shared / (area + other - shared))


def greedy(order: np.ndarray, beaten: dict[int, np.ndarray] | np.ndarray) -> list[int]:
    """By falling score, keep what is left and drop what it beats."""
    alive, kept = np.ones(len(order), dtype=bool), []
    for index in order.tolist():
        if alive[index]:
            kept.append(index)
            alive[beaten[index]] = False
    return kept


def row_nms(boxes: np.ndarray, scores: np.ndarray) -> list[int]:
    """The greedy loop with one row of IoUs for each box that is kept."""
    categories = torch.zeros(len(boxes))
    kept: list[int] = batched_nms(torch.from_numpy(boxes), torch.from_numpy(scores), categories, NMS_IOU).tolist()
    return kept


def table_nms(boxes: np.ndarray, scores: np.ndarray) -> list[int]:
    """The N x N table in numpy, then the greedy loop."""
    over = ious(boxes[:, None], boxes[None]) > NMS_IOU
    np.fill_diagonal(over, val=False)
    return greedy(np.argsort(-scores, kind="stable"), over)


def torch_table_nms(boxes: np.ndarray, scores: np.ndarray) -> list[int]:
    """The N x N table in torch, then the greedy loop."""
    corners = torch.from_numpy(boxes)
    sides = torch.minimum(corners[:, None, 2:], corners[None, :, 2:]) - torch.maximum(
        corners[:, None, :2], corners[None, :, :2]
    )
    shared = sides.clamp(min=0).prod(dim=2)
    area = (corners[:, 2:] - corners[:, :2]).prod(dim=1)
    over = (shared / (area[:, None] + area[None] - shared) > NMS_IOU).fill_diagonal_(fill_value=False).numpy()
    return greedy(np.argsort(-scores, kind="stable"), over)


def tree_nms(boxes: np.ndarray, scores: np.ndarray) -> list[int]:
    """Pairs from shapely's STRtree of the boxes, then the greedy loop."""
    first, second = shapely.STRtree(shapely.box(*boxes.T)).query(shapely.box(*boxes.T))
    over = (ious(boxes[first], boxes[second]) > NMS_IOU) & (first != second)
    first, second = first[over], second[over]
    cut = np.searchsorted(first, np.arange(len(boxes) + 1))
    return greedy(np.argsort(-scores, kind="stable"), {i: second[cut[i] : cut[i + 1]] for i in range(len(boxes))})


def whole_frame_regions(frames: list[np.ndarray]) -> list[np.ndarray]:
    """``remove_small_regions`` of segment_anything on whole frames, holes before islands, with scipy's labels."""
    from scipy import ndimage

    cleaned = []
    for frame in frames:
        mask = frame
        for holes in (True, False):
            regions, count = ndimage.label(mask ^ holes, structure=np.ones((3, 3)))
            sizes = np.bincount(regions.ravel(), minlength=count + 1)[1:]
            small = 1 + np.flatnonzero(sizes < MIN_REGION)
            if len(small):
                fill = [0, *small]
                if not holes:
                    fill = [one for one in range(1, count + 1) if one not in fill] or [1 + int(np.argmax(sizes))]
                mask = np.isin(regions, fill)
        cleaned.append(mask)
    return cleaned


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=64)
    parser.add_argument("--boxes", type=int, default=3567)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    frame = Rect(0, 0, SIDE, SIDE)

    given = answers(options.points)
    masks, frames = ours_gated(given), whole_frames(given)
    assert masks == [Mask.from_array(one) for one in frames], "other masks than on whole frames"
    passing = int((given[1] > MIN_IOU).sum())
    print(
        f"{options.points} points, {passing} of {given[1].numel()} candidates pass the IoU gate; {len(masks)} masks, the same"
    )
    works = {"ours": ours_gated, "whole_frames,_gated_first": gated_frames, "whole_frames": whole_frames}
    calls = {name: (lambda work=work: work(given)) for name, work in works.items()}
    say(f"logits of {options.points} points to gated masks", in_turns(options.repeats, **calls))

    boxes, scores = crowd(options.boxes)
    kept = box_nms(boxes, scores, NMS_IOU).tolist()
    assert (
        kept == row_nms(boxes, scores) == table_nms(boxes, scores) == torch_table_nms(boxes, scores) == tree_nms(boxes, scores)
    )
    print(f"\n{len(kept)} of {len(boxes)} boxes kept, the same by all")
    peers = {
        "a_row_at_a_time": row_nms,
        "N_x_N_in_numpy": table_nms,
        "N_x_N_in_torch": torch_table_nms,
        "STRtree_and_greedy_loop": tree_nms,
    }
    calls = {name: (lambda work=work: work(boxes, scores)) for name, work in peers.items()}
    say("suppression of boxes", in_turns(options.repeats, ours=lambda: box_nms(boxes, scores, NMS_IOU), **calls))

    cleaned = [fill_and_drop(mask, MIN_REGION, frame)[0] for mask in masks]
    assert cleaned == [Mask.from_array(one) for one in whole_frame_regions(frames)], "other regions than on whole frames"
    changed = sum(one != other for one, other in zip(cleaned, masks, strict=True))
    print(f"\n{changed} of {len(masks)} masks have holes or islands of fewer than {MIN_REGION} pixels, the same after cleaning")
    works = {
        "ours": lambda: [fill_and_drop(mask, MIN_REGION, frame) for mask in masks],
        "whole_frames": lambda: whole_frame_regions(frames),
    }
    say("small regions", in_turns(options.repeats, **works))


if __name__ == "__main__":
    main()
