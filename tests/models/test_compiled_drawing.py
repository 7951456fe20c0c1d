"""The compiled drawing of masks draws what torch draws, wherever it is used."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

import samgeo
from samgeo.models.compiled import mask_drawing
from samgeo.models.compiled.library import library
from samgeo.models.tiny.mask_regions import CellRegions
from samgeo.models.tiny.network import TinyConfig
from samgeo.synthetic import town

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(library() is None, reason="the compiled library was not built here, or cannot be used"),
]

CELLS = 32
CLOSE = {"rtol": 0, "atol": 2e-4}
MASKS = {1: slice(0, 1), 3: slice(1, None)}
PROMPTS = ("click", "clicks", "box", "box and click", "mask")


@pytest.fixture(scope="module")
def tiny():
    return samgeo.load_model("tiny", device="cpu")


@pytest.fixture(scope="module")
def window(tiny):
    with torch.inference_mode():
        return tiny.network.window(tiny.embed(town((512, 512), seed=3).image[None])[0])


@pytest.fixture(scope="module", params=PROMPTS)
def decoded(request, tiny, window):
    """Return four prompts of one kind, decoded."""
    generator = torch.Generator().manual_seed(5)
    points = torch.rand(4, 3, 2, generator=generator) * 512
    corner = torch.rand(4, 2, generator=generator) * 300
    boxes = torch.cat([corner, corner + 40 + 100 * torch.rand(4, 2, generator=generator)], dim=1)
    labels, one = torch.tensor([[1, 0, 1]] * 4), torch.ones(4, 1, dtype=torch.long)
    given = {
        "click": (points[:, :1], one),
        "clicks": (points, labels),
        "box": (None, None, boxes),
        "box and click": (points[:, :1], one, boxes),
        "mask": (points[:, :2], labels[:, :2], None, 8 * torch.randn(4, 128, 128, generator=generator)),
    }[request.param]
    with torch.inference_mode():
        prompted, decoded = tiny.network.decode(window, *given)
    return SimpleNamespace(prompted=prompted, decoded=decoded)


@pytest.fixture
def drawn_by(monkeypatch, tiny, window):
    """Return a function that draws all candidates, or one, with the compiled function or with torch."""
    calls = []
    compiled = mask_drawing.draw
    monkeypatch.setattr(mask_drawing, "draw", lambda *args, **more: calls.append(args) or compiled(*args, **more))

    def draw(decoded, count, rows=slice(None), regions=None, *, torch_only=False):
        calls.clear()
        with monkeypatch.context() as patch, torch.inference_mode():
            if torch_only:
                patch.setattr(mask_drawing, "fits", lambda *_: False)
            common = (window, decoded.prompted, decoded.decoded, MASKS[count])
            logits = tiny.network.draw(*common, rows) if regions is None else tiny.network.draw_regions(*common, regions)
        assert len(calls) == (0 if torch_only else 1)
        return logits

    return draw


def squares(side):
    """Return squares in the corners and in the middle of the window, of prompts in no order."""
    end = CELLS - side
    top, left = torch.tensor([0, end, 0, end, end // 2]), torch.tensor([0, end, end, 0, end // 3])
    return CellRegions(torch.tensor([2, 0, 3, 1, 2]), top, left, side, CELLS)


@pytest.mark.parametrize("count", MASKS)
def test_it_draws_windows_as_torch_does(drawn_by, decoded, count):
    expected = drawn_by(decoded, count, torch_only=True)
    drawn = drawn_by(decoded, count)
    assert drawn.shape == (4, count, 128, 128)
    torch.testing.assert_close(drawn, expected, **CLOSE)


@pytest.mark.parametrize("side", [4, 7, 8, 9, 13, 16, 24])
@pytest.mark.parametrize("count", MASKS)
def test_it_draws_squares_as_torch_does(drawn_by, decoded, side, count):
    expected = drawn_by(decoded, count, regions=squares(side), torch_only=True)
    drawn = drawn_by(decoded, count, regions=squares(side))
    assert drawn.shape == (5, count, 4 * side, 4 * side)
    torch.testing.assert_close(drawn, expected, **CLOSE)


def test_no_bit_of_a_mask_depends_on_what_is_drawn_beside_it(drawn_by, decoded):
    together = drawn_by(decoded, 3, rows=torch.tensor([3, 1, 2]))
    for row, at_once in zip([3, 1, 2], together, strict=True):
        assert torch.equal(drawn_by(decoded, 3, rows=torch.tensor([row]))[0], at_once)
    regions = squares(8)
    drawn_by(decoded, 3, regions=squares(20))  # what it leaves behind has no effect
    several = drawn_by(decoded, 3, regions=regions)
    for number, at_once in enumerate(several):
        assert torch.equal(drawn_by(decoded, 3, regions=regions[number : number + 1])[0], at_once)


def test_several_threads_draw_the_same_bits(drawn_by, decoded):
    alone = drawn_by(decoded, 3)
    torch.set_num_threads(3)
    try:
        assert torch.equal(drawn_by(decoded, 3), alone)
    finally:
        torch.set_num_threads(1)


def test_windows_of_another_size_are_drawn_as_torch_draws_them(monkeypatch):
    network = samgeo.models.tiny.new_tiny(TinyConfig(input_size=96, quality=64)).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        window = network.window(network.encode(255 * torch.rand(1, 96, 96, 3, generator=generator)))
        decoded = network.decode(window, boxes=torch.tensor([[10.0, 20, 70, 60]]))
        drawn = network.draw(window, *decoded, slice(None), slice(None))
        monkeypatch.setattr(mask_drawing, "fits", lambda *_: False)
        expected = network.draw(window, *decoded, slice(None), slice(None))
    assert drawn.shape == (1, 4, 24, 24)
    torch.testing.assert_close(drawn, expected, **CLOSE)


def test_torch_draws_what_the_compiled_function_cannot():
    sizes = (mask_drawing.CHANNELS, mask_drawing.MAPS, 4, 32)
    some = torch.ones(2, 3)
    with torch.inference_mode():
        assert mask_drawing.fits(*sizes, some)
        for wrong in (some.bfloat16(), some.double(), some.T, some.to("meta")):
            assert not mask_drawing.fits(*sizes, some, wrong)
        assert not mask_drawing.fits((128, 64, 16), *sizes[1:], some)
        assert not mask_drawing.fits(sizes[0], (8, 32), *sizes[2:], some)
        assert not mask_drawing.fits(*sizes[:2], 5, 32, some)
        assert not any(mask_drawing.fits(*sizes[:3], side, some) for side in (2, 3, 33, 64))
    assert not mask_drawing.fits(*sizes, some)  # gradients may be wanted


def test_masks_of_the_model_are_those_of_torch(monkeypatch, tiny):
    embedding = tiny.embed(town((512, 512), seed=4).image[None])[0]
    points = np.stack(np.meshgrid(*[np.arange(40, 512, 140.0)] * 2), axis=-1).reshape(-1, 1, 2).astype(np.float32)
    prompts = {"points": points, "labels": np.ones((len(points), 1), np.int64)}
    drawn, scores = tiny.decode(embedding, **prompts)
    monkeypatch.setattr(mask_drawing, "fits", lambda *_: False)
    expected, same_scores = tiny.decode(embedding, **prompts)
    assert torch.equal(scores, same_scores)
    torch.testing.assert_close(drawn, expected, **CLOSE)
