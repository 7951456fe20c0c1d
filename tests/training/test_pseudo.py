import sys

import numpy as np
import pytest
from learn_scenes import squares

from samgeo.errors import OptionError
from samgeo.training.data.examples import Source, draw
from samgeo.training.data.pseudo_labels import LAYERS, with_regions


@pytest.fixture(scope="module")
def picture():
    image = squares("a").image.copy()
    image[:, 90:] = 0
    return with_regions("a", image)


def test_regions_grow_from_layer_to_layer(picture):
    numbers = [len(np.unique(picture.layers[layer])) for layer in ("fine", "middle", "coarse")]
    assert numbers[0] >= numbers[1] >= numbers[2] > 1


def test_a_region_is_where_an_object_is(picture):
    truth = squares("a").layers["building"]
    found = picture.layers["fine"] == picture.layers["fine"][16, 16]
    square = truth == truth[16, 16]
    # Blurred before it is split, the square loses its outermost pixels.
    assert not (found & ~square).any()
    assert found.sum() > 0.6 * square.sum()


def test_nodata_and_what_is_too_large_or_small_is_no_region(picture):
    for ids in picture.layers.values():
        assert not ids[:, 90:].any()
        sizes = np.bincount(ids.ravel())[1:]
        assert sizes.min() >= 40
        assert sizes.max() < 0.4 * ids.size


def test_training_trusts_regions_little(picture):
    example = draw([Source("regions", [picture], 1.0, LAYERS, (1, 1))], 64, 6, np.random.default_rng(0))
    assert set(example.trust.tolist()) == {np.float32(0.1)}


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.segmentation", None)
    with pytest.raises(OptionError, match=r"scikit-image.*samgeo\[train\]"):
        with_regions("a", squares("a").image)
