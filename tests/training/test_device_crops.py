"""Crops as tensors hold what the pictures hold, and are asked for and changed as those of the processor are."""

import itertools

import numpy as np
import pytest
import torch
from learn_scenes import squares
from scipy import ndimage

from samgeo.errors import OptionError
from samgeo.training.data.augmentation import augment
from samgeo.training.data.device_augmentation import augment_crops
from samgeo.training.data.device_crops import DevicePictures, draw_crops
from samgeo.training.data.examples import Layer, Source
from samgeo.training.data.pictures import Picture
from samgeo.training.losses import LossWeights
from samgeo.training.step import Course, Crops, crops_loss

CPU = torch.device("cpu")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def painted(seed=0, side=96):
    """A picture whose pixels say which object they are of: red is 10 times the number, and 5 where there is none."""
    picture = squares("painted", side, seed)
    ids = picture.layers["building"]
    image = np.full((side, side, 3), 5, dtype=np.uint8)
    image[ids > 0, 0] = 10 * ids[ids > 0] + 100
    return Picture("painted", image, {"building": ids})


@pytest.fixture
def unchanged(monkeypatch):
    import samgeo.training.data.device_crops as module

    monkeypatch.setattr(module, "augment_crops", lambda images, _: images)


@pytest.mark.parametrize("scales", [(1.0, 1.0), (0.4, 0.6), (1.5, 2.5)])
def test_masks_lie_where_the_pixels_of_their_object_are(scales, unchanged):
    source = Source("painted", [painted(), painted(side=126)], 1.0, {"building": Layer(1.0)}, scales)
    pictures = DevicePictures.of([source], CPU)
    crops = draw_crops(pictures, 8, 64, 3, generator())
    assert crops.masks.shape == (24, 64, 64)
    assert crops.masks.flatten(1).any(1).all()
    seen = 0
    for row, mask in enumerate(crops.masks):
        # Pixels at the edge of an object are mixed with what is beside it.
        inner = ndimage.binary_erosion(mask.numpy(), iterations=3)
        red = crops.images[row // 3, ..., 0].numpy()
        assert (np.abs(red[inner] - np.median(red[mask.numpy()])) <= 1).all()
        assert (red[inner] >= 109).all()
        seen += inner.any()
    assert seen > 12


def test_clicks_lie_in_masks_and_boxes_about_them(source):
    crops = draw_crops(DevicePictures.of([source], CPU), 6, 64, 5, generator(3))
    x, y = crops.clicks.long().unbind(1)
    assert crops.masks[torch.arange(30), y, x].all()
    assert (crops.boxes[:, 2:] - crops.boxes[:, :2] >= 2).all()
    assert crops.boxes.min() >= 0
    assert crops.boxes.max() <= 64
    for mask, box in zip(crops.masks, crops.boxes, strict=True):
        rows, columns = torch.nonzero(mask).T
        true = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        assert (box - true).abs().max() <= 16


def test_the_same_state_draws_the_same_crops(source):
    pictures = DevicePictures.of([source], CPU)
    first, again, other = (draw_crops(pictures, 2, 32, 2, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.clicks, again.clicks)
    assert not torch.equal(first.images, other.images)


def test_layers_are_chosen_by_their_share():
    ids = np.zeros((64, 64), dtype=np.uint16)
    ids[8:30, 8:30] = 1
    image = np.full((64, 64, 3), 90, dtype=np.uint8)
    picture = Picture("two", image, {"often": ids, "seldom": ids.T.copy()[::-1].copy()})
    layers = {"often": Layer(0.9, 1.0), "seldom": Layer(0.1, 0.25)}
    pictures = DevicePictures.of([Source("two", [picture], 1.0, layers, (1.0, 1.0))], CPU)
    crops = draw_crops(pictures, 200, 64, 1, generator())
    assert set(crops.trust.tolist()) == {1.0, 0.25}
    assert 0.8 < (crops.trust == 1).float().mean() < 0.97


def test_pictures_without_objects_of_a_size_that_can_be_meant_are_refused():
    image = np.full((64, 64, 3), 90, dtype=np.uint8)
    ids = np.zeros((64, 64), dtype=np.uint16)
    ids[:2, :2] = 1
    pictures = DevicePictures.of([Source("speck", [Picture("speck", image, {"b": ids})], 1.0, {"b": Layer(1.0)}, (1, 1))], CPU)
    with pytest.raises(OptionError, match="had no object of 30 px"):
        draw_crops(pictures, 4, 64, 2, generator())


def test_looks_change_as_on_the_processor_and_no_data_stay_no_data():
    rng = np.random.default_rng(0)
    crop = rng.integers(40, 200, (48, 48, 3)).astype(np.uint8)
    crop[:10] = 0
    there = augment_crops(torch.from_numpy(crop)[None].repeat(300, 1, 1, 1).float(), generator())
    assert torch.equal(there, there.round())
    assert 0 <= there.min() <= there.max() <= 255
    assert (there[:, :10] == 0).all()
    here = np.stack([augment(crop, rng) for _ in range(300)]).astype(np.float64)
    seen = there.numpy().astype(np.float64)
    # The spread of brightness, of contrast and of colour over many changes is alike.
    for measure in (
        lambda crops: crops[:, 10:].mean((1, 2, 3)),
        lambda crops: crops[:, 10:].std((1, 2)).mean(1),
        lambda crops: np.abs(crops[:, 10:, :, 0] - crops[:, 10:, :, 2]).mean((1, 2)),
    ):
        mine, theirs = measure(seen), measure(here)
        assert abs(mine.mean() - theirs.mean()) < 0.15 * theirs.mean() + 3
        assert 0.7 < mine.std() / theirs.std() < 1.4


def test_the_loss_of_crops_is_the_mean_of_theirs(small_network, source):
    crops = draw_crops(DevicePictures.of([source], CPU), 3, 64, 4, generator())
    course = Course(boxes=0.5, correct_boxes=0.0, forget=0.0)

    class Same:
        """Chance that is the same for all crops together and for each by itself."""

        def __init__(self):
            self.answers = itertools.cycle([0.9])

        def uniform(self, low, high):
            return 0.0

        def permutation(self, count):
            return np.arange(count)

        def random(self, size=None):
            return next(self.answers) if size is None else np.full(size, 0.5)

    def loss(part):
        given = {"window_px": 64, "rng": Same(), "weights": LossWeights(), "course": course}
        return crops_loss(small_network, part, **given)

    total, told = loss(crops)
    total.backward()
    gradients = [parameter.grad.clone() for parameter in small_network.parameters() if parameter.grad is not None]
    small_network.zero_grad()
    alone = []
    for crop in range(3):
        rows = slice(4 * crop, 4 * crop + 4)
        part = Crops(crops.images[crop, None], crops.masks[rows], crops.clicks[rows], crops.boxes[rows], crops.trust[rows])
        one, one_told = loss(part)
        (one / 3).backward()
        alone.append((one.item(), one_told.click, one_told.box))
    assert total.item() == pytest.approx(np.mean([one for one, _, _ in alone]), rel=1e-5)
    assert told.click == pytest.approx(np.mean([click for _, click, _ in alone]), rel=1e-5)
    assert told.box == pytest.approx(np.mean([box for _, _, box in alone]), rel=1e-5)
    again = [parameter.grad for parameter in small_network.parameters() if parameter.grad is not None]
    for together, apart in zip(gradients, again, strict=True):
        torch.testing.assert_close(together, apart, rtol=1e-3, atol=1e-5)
