"""Sessions, predictors and maps on the shared scene."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from map_scene import CLASSES, LABELS

import samgeo
from samgeo.map.session import Session
from samgeo.testing import TRANSFORMS, Oracle, encode_ids, write_raster


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scene as a raster file with a CRS and a rotated transform."""
    path = tmp_path_factory.mktemp("raster") / "ids.tif"
    return write_raster(path, encode_ids(LABELS), transform=TRANSFORMS["rotated"])


@pytest.fixture(scope="session")
def predictor() -> samgeo.Predictor:
    """On the pixels of the scene, without a CRS."""
    return samgeo.Predictor(encode_ids(LABELS), model=Oracle(128))


@pytest.fixture(scope="session")
def placed(image: Path) -> samgeo.Predictor:
    """On the raster file, with a CRS."""
    return samgeo.Predictor(image, model=Oracle(128))


@pytest.fixture
def session(predictor: samgeo.Predictor) -> Session:
    return Session(predictor, classes=CLASSES)


@pytest.fixture
def make(image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., samgeo.Map]]:
    """Make maps, whose files go to a temporary folder, and close them at the end."""
    monkeypatch.chdir(tmp_path)
    made: list[samgeo.Map] = []

    def make_it(raster=image, model=None, **options) -> samgeo.Map:
        made.append(
            samgeo.Map(raster, Oracle(128) if model is None else model, **{"classes": (*CLASSES, "<b>tree</b>"), **options})
        )
        return made[-1]

    yield make_it
    for one in made:
        one.close()
