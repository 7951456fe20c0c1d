"""The options that clean results: the same words for every entry point, on by default, off for masks as the model drew them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from click.testing import CliRunner
from PIL import Image
from scipy import ndimage

import samgeo
from samgeo.cli import main
from samgeo.errors import OptionError
from samgeo.geo.vector.reading import read_provenance
from samgeo.map.in_view import segment_area
from samgeo.samrs import make_samrs
from samgeo.segmentation.prediction import predict
from samgeo.testing import encode_ids
from samgeo.testing.oracle import Oracle
from samgeo.testing.rasters import write_raster

PIXEL = (30.5, 30.5)
OFF = {"min_part": 0, "min_hole": 0}


class Specked(Oracle):
    """An oracle whose masks have a speck of two pixels in the corner of a window, and a pinhole of one pixel."""

    def decode(self, embedding: Any, **prompts: Any) -> Any:
        logits, predicted = super().decode(embedding, **prompts)
        return _specked(logits), predicted

    def decode_gated(self, embedding: Any, **prompts: Any) -> Any:
        prompt, token, logits, predicted = super().decode_gated(embedding, **prompts)
        return prompt, token, _specked(logits), predicted


def _specked(logits: Any) -> Any:
    logits = logits.clone()
    logits[..., 2, 2:4], logits[..., 40, 40] = 10.0, -10.0
    return logits


@pytest.fixture
def image(tmp_path: Path) -> Path:
    labels = np.zeros((128, 128), dtype=np.int32)
    labels[20:60, 20:70] = 1
    return write_raster(tmp_path / "image.tif", encode_ids(labels))


def is_specked(geometry: shapely.Geometry) -> bool:
    parts = shapely.get_parts(geometry)
    assert (len(parts) > 1) == any(part.interiors for part in parts)
    return len(parts) > 1


def test_specks_and_pinholes_go_everywhere_and_stay_where_they_are_asked_for(image: Path) -> None:
    model = Specked(128)
    area_px = shapely.box(0, 0, 128, 128)
    for options, expected in (({}, False), ({"min_part": 3, "min_hole": 2}, False), (OFF, True)):
        predictor = samgeo.Predictor(image, model=model, **options)
        point = {"points": [PIXEL], "crs": "pixels"}
        (everything,) = samgeo.segment(image, model=model, progress=False, **options).geometry
        (in_view,) = segment_area(predictor, area_px).geometry
        (predicted,) = predict(image, model=model, **point, **options).geometry
        (answer,) = predictor.predict_masks(**point)
        (offer,) = predictor.candidates(**point)
        assert [is_specked(one) for one in (everything, in_view, predicted)] == [expected] * 3
        assert answer.mask == offer.mask
        assert answer.mask.area == 50 * 40 + (2 - 1) * expected


def test_areas_are_those_of_what_is_left_and_the_run_says_what_was_asked(image: Path, tmp_path: Path) -> None:
    table = samgeo.segment(image, tmp_path / "objects.gpkg", model=Specked(128), progress=False, mask_nms=0.7, min_part=4)
    assert table.area_m2.to_numpy() == pytest.approx(table.area.to_numpy(), rel=1e-3)
    options = read_provenance(tmp_path / "objects.gpkg")["options"]
    assert (options["mask_nms"], options["min_part"], options["min_hole"]) == (0.7, 4, 5)
    predicted = samgeo.Predictor(image, model=Specked(128), min_hole=7).predict([PIXEL], crs="pixels")
    assert predicted.attrs["samgeo"]["options"]["min_hole"] == 7


@pytest.mark.parametrize(
    ("name", "value"), [("mask_nms", 1.5), ("mask_nms", "on"), ("min_part", -1), ("min_hole", float("nan"))]
)
def test_what_cannot_be_meant_is_refused_before_work(image: Path, name: str, value: object) -> None:
    model = Specked(128)
    with pytest.raises(OptionError, match=name):
        samgeo.segment(image, model=model, **{name: value})
    if name != "mask_nms":
        with pytest.raises(OptionError, match=name):
            samgeo.Predictor(image, model=model, **{name: value})
    assert model.embedded == 0


def test_the_command_takes_the_same_words(image: Path, tmp_path: Path) -> None:
    output = tmp_path / "objects.gpkg"
    given = ["segment", str(image), str(output), "--quiet", "--min-part", "0", "--min-hole", "2.5"]
    assert CliRunner().invoke(main, [*given, "--mask-nms", "off"]).exit_code == 0
    options = read_provenance(output)["options"]
    assert (options["mask_nms"], options["min_part"], options["min_hole"]) == (None, 0, 2.5)
    wrong = CliRunner().invoke(main, [*given, "--mask-nms", "some"])
    assert (wrong.exit_code, "nor off" in wrong.output) == (2, True)
    boxes = tmp_path / "boxes.gpkg"
    with rasterio.open(image) as file:
        gpd.GeoDataFrame(geometry=[shapely.box(*file.bounds)], crs=file.crs).to_file(boxes)
    output = tmp_path / "predicted.gpkg"
    assert CliRunner().invoke(main, ["predict", str(image), str(output), "--boxes", str(boxes), *given[4:]]).exit_code == 0
    assert read_provenance(output)["options"]["min_hole"] == 2.5


def test_training_masks_have_no_specks_and_neither_has_what_a_chip_shows(tmp_path: Path) -> None:
    labels = np.zeros((128, 128), dtype=np.int32)
    labels[20:60, 20:70] = 1
    labels[40:60, 70:90] = 1
    labels[30:31, 70:72] = 1  # a spur over the edge of the chip at column 70: two pixels that hang together in the image
    (tmp_path / "images").mkdir()
    write_raster(tmp_path / "images" / "one.tif", encode_ids(labels))
    (tmp_path / "labels.json").write_text(
        json.dumps(
            {
                "images": [{"id": 1, "file_name": "one.tif", "width": 128, "height": 128}],
                "annotations": [
                    {"id": 1, "image_id": 1, "category_id": 1, "bbox": [20, 20, 70, 40], "area": 2800, "iscrowd": 0}
                ],
                "categories": [{"id": 1, "name": "roof"}],
            }
        )
    )
    counts = []
    for name, options in (("clean", {}), ("raw", OFF)):
        make_samrs(
            tmp_path / "images",
            tmp_path / "labels.json",
            tmp_path / name,
            model=Specked(128),
            chip=70,
            min_visible=0.05,
            progress=False,
            **options,
        )
        pictures = sorted((tmp_path / name / "gray").glob("*.png"))
        parts = [ndimage.label(np.asarray(Image.open(picture)) == 0)[0] for picture in pictures]
        sizes = np.concatenate([np.bincount(part.ravel())[1:] for part in parts])
        counts.append((len(pictures), int((sizes < 5).sum())))
    assert counts[0] == (counts[1][0], 0)
    assert counts[1][1] > 0
