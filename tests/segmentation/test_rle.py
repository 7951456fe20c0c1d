"""COCO's runs are those of pycocotools, byte for byte, and hold the mask's pixels."""

import numpy as np
import pytest
from pycocotools import mask as reference

from samgeo.errors import OptionError
from samgeo.geo.grid import Rect
from samgeo.segmentation.masks import rle as module
from samgeo.segmentation.masks.mask import Mask
from samgeo.segmentation.masks.rle import Rle


def random_mask(rng):
    height, width = rng.integers(1, 60, 2)
    array = rng.random((height, width)) < rng.choice([0, 0.02, 0.3, 0.7, 0.98, 1])
    if rng.random() < 0.3:  # runs that go on from column to column
        array[:, rng.integers(0, width) :] = True
    return array


def test_a_thousand_random_masks_have_the_bytes_of_pycocotools(monkeypatch):
    rng = np.random.default_rng(0)
    for number in range(1000):
        # The strips in which masks are drawn make no difference.
        monkeypatch.setattr(module, "STRIP_PIXELS", 1 << 24 if number % 2 else int(rng.integers(1, 300)))
        array = random_mask(rng)
        mask = Mask.from_array(array)
        expected = reference.encode(np.asfortranarray(array, dtype=np.uint8))
        ours = Rle.from_mask(mask, array.shape)
        assert ours.to_coco()["counts"].encode() == expected["counts"]
        assert ours.to_coco()["size"] == expected["size"]
        assert reference.frPyObjects(ours.to_coco(compressed=False), *array.shape) == expected
        assert Rle.from_coco(expected) == Rle.from_coco(ours.to_coco(compressed=False)) == ours
        assert ours.area == mask.area == reference.area(expected)
        assert ours.rect == mask.rect
        assert ours.to_mask() == mask


def test_large_counts_have_the_bytes_of_pycocotools():
    counts = [2**28, 5, 2**30, 1, 2**29]
    counts.append(2**31 - sum(counts))
    size = [2**15, 2**16]
    assert (
        Rle.from_coco({"size": size, "counts": counts}).to_coco()["counts"].encode()
        == (reference.frPyObjects({"size": size, "counts": counts}, *size)["counts"])
    )


def test_a_large_frame_costs_what_the_mask_costs():
    mask = Mask.from_array(np.ones((3, 5), dtype=np.bool_), 40000, 20000)
    encoded = Rle.from_mask(mask, (40000, 50000))
    assert encoded.rect == Rect(40000, 20000, 40005, 20003)
    assert encoded.to_mask() == mask


def test_empty_runs_of_others_are_joined():
    assert Rle.from_coco({"size": [2, 3], "counts": [0, 0, 2, 1, 0, 3]}) == Rle.from_coco({"size": [2, 3], "counts": [2, 4]})
    assert Rle.from_coco({"size": [2, 3], "counts": [0, 2, 0, 4]}) == Rle.from_coco({"size": [2, 3], "counts": [0, 6]})


@pytest.mark.parametrize(
    "segmentation",
    [
        {"size": [2, 3], "counts": [1, 2]},
        {"size": [2, 3], "counts": [7, -1]},
        {"size": [2, 3], "counts": [2.0, 4.0]},
        {"size": [2, 3], "counts": [2**70]},
        {"size": [2, 3], "counts": "~~~"},
        {"size": [2, 3], "counts": "oooooooooooo"},
        {"size": [2, 3], "counts": "o" * 20 + "0"},
        {"size": [2, 3], "counts": "\N{SNOWMAN}"},
        {"size": [2, 3], "counts": ""},
        {"size": [2, 3], "counts": None},
        {"size": [2, 3]},
        {"size": [0, 3], "counts": []},
        {"size": [2**20, 2**20], "counts": [0, 2**40]},
        {"size": [2, True], "counts": [2]},
        {"size": "23", "counts": [6]},
        {},
    ],
)
def test_what_is_no_mask_is_refused(segmentation):
    with pytest.raises(OptionError):
        Rle.from_coco(segmentation)


def test_a_mask_past_its_frame_is_refused():
    with pytest.raises(OptionError, match="extends beyond its image"):
        Rle.from_mask(Mask.from_array(np.ones((2, 2), dtype=np.bool_), 3, 0), (4, 4))
