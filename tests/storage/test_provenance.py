"""What all results say of what made them."""

import json

import samgeo
from samgeo.storage.provenance import made_with, versions
from samgeo.testing import Oracle


def test_a_result_names_samgeo_the_model_and_the_raster() -> None:
    model = Oracle(64)
    made = made_with(model, {"path": "city.tif", "shape": [2, 3]})
    assert json.loads(json.dumps(made)) == {
        "samgeo": samgeo.__version__,
        "model": {"name": model.name, "digest": model.digest},
        "raster": {"path": "city.tif", "shape": [2, 3]},
    }


def test_versions_are_those_of_the_libraries() -> None:
    import torch

    assert versions()["torch"] == torch.__version__
    assert set(versions()) == {"samgeo", "torch", "numpy", "gdal"}
    assert all(type(text) is str and text for text in json.loads(json.dumps(versions())).values())
