import numpy as np
import pytest

from samgeo.errors import OptionError
from samgeo.training.data.augmentation import augment
from samgeo.training.data.examples import Layer, Source, draw
from samgeo.training.data.pictures import Picture


def test_every_object_has_its_click_in_it_and_its_box_about_it(source):
    for seed in range(12):
        example = draw([source], 64, 6, np.random.default_rng(seed))
        assert example.image.shape == (64, 64, 3)
        assert 1 <= len(example.masks) <= 6
        for mask, (x, y), box in zip(example.masks, example.clicks, example.boxes, strict=True):
            assert mask[int(y), int(x)]
            rows, columns = np.nonzero(mask)
            inside = (columns + 0.5 > box[0]) & (columns + 0.5 < box[2]) & (rows + 0.5 > box[1]) & (rows + 0.5 < box[3])
            assert inside.mean() > 0.6


def test_the_same_state_draws_the_same_example(source):
    first, again = (draw([source], 64, 6, np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.masks, again.masks)
    assert np.array_equal(first.boxes, again.boxes)


def test_image_and_masks_are_turned_and_scaled_together(source):
    for seed in range(12):
        example = draw([source], 64, 9, np.random.default_rng(seed))
        objects = example.masks.any(0)
        grey = example.image.mean(2)
        assert grey[objects].mean() > grey[~objects & example.image.any(2)].mean()


def test_objects_are_not_repeated(source):
    example = draw([source], 64, 9, np.random.default_rng(1))
    assert (example.masks.sum(0) <= 1).all()


def test_the_trust_of_a_layer_reaches_its_objects(source):
    ids = source.pictures[0].layers["building"]
    both = Picture("both", source.pictures[0].image, {"building": ids, "segment": ids})
    mixed = Source("mixed", [both], 1.0, {"building": Layer(0.5), "segment": Layer(0.5, trust=0.25)}, (1, 1))
    example = draw([mixed], 96, 18, np.random.default_rng(0))
    assert set(example.trust.tolist()) == {1.0, 0.25}


def test_pictures_without_objects_are_refused_with_a_reason(source):
    empty = Picture("empty", source.pictures[0].image, {"building": np.zeros((96, 96), dtype=np.uint16)})
    with pytest.raises(OptionError, match="no object"):
        draw([Source("empty", [empty], 1.0, {"building": Layer(1.0)}, (1, 1))], 64, 4, np.random.default_rng(0))


@pytest.mark.parametrize("wrong", [{"weight": 0.0}, {"scales": (2.0, 1.0)}, {"pictures": []}, {"layers": {"roof": Layer(1.0)}}])
def test_a_source_that_cannot_be_drawn_from_is_refused(source, wrong):
    given = {"name": "x", "pictures": source.pictures, "weight": 1.0, "layers": source.layers, "scales": (1.0, 1.0)}
    with pytest.raises(OptionError, match="source 'x'"):
        Source(**given | wrong)


def test_looks_change_but_nodata_stays_nodata(source):
    image = source.pictures[0].image.copy()
    image[:, :20] = 0
    changed = [augment(image, np.random.default_rng(seed)) for seed in range(8)]
    assert all(one.dtype == np.uint8 and one.shape == image.shape for one in changed)
    assert all(not one[:, :20].any() for one in changed)
    assert any((one != image).any() for one in changed)
