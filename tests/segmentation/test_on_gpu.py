"""On a real GPU: copies that do not wait, batches that do not show in the result, and the device's own clock."""

import numpy as np
import pytest
import torch

import samgeo
from samgeo.models.device import sent, starting_home
from samgeo.models.embedding_packing import pack
from samgeo.segmentation.profile import profiling
from samgeo.segmentation.windows.automatic import embed_windows
from samgeo.synthetic import town

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]

CUDA = torch.device("cuda")


def test_there_and_back_again() -> None:
    tensor = torch.randn(64, 256, 256)
    there = sent(tensor, CUDA)
    assert there.device.type == "cuda"
    doubled = there * 2
    wait = starting_home(doubled)
    doubled.zero_()  # behind the copy
    home = wait()
    assert home.device.type == "cpu"
    assert torch.equal(home, tensor * 2)


def test_an_embedding_does_not_depend_on_its_company() -> None:
    model = samgeo.load_model("tiny", device="cuda")
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (4, 512, 512, 3), dtype=np.uint8)
    full = (512, 512)
    among = pack(model, embed_windows(model, {place: (image, full) for place, image in enumerate(images)}, 4)[2])
    alone = pack(model, embed_windows(model, {2: (images[2], full)}, 4)[2])
    assert all(np.array_equal(among[name], alone[name]) for name in among)


def test_a_raster_comes_out_the_same_for_any_number_of_workers_and_the_device_is_timed() -> None:
    image = town((1024, 1500), seed=1).image

    def canonical(workers: int) -> str:
        return samgeo.segment(image, device="cuda", workers=workers, progress=False).to_wkb().to_csv()

    expected = canonical(1)
    with profiling() as profile:
        assert canonical(3) == expected
    assert profile.device_idle is not None
    assert 0 < profile.device_idle < 1
