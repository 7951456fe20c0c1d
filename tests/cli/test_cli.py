"""The command, as a person runs it: formats, messages, exit codes, and nothing left half made."""

import errno
import json
import os
import pickle
import re
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
import torch
from click.testing import CliRunner, Result
from PIL import Image
from rasterio.transform import from_origin

from samgeo.cli import main
from samgeo.models import list_models
from samgeo.plot import show
from samgeo.synthetic import town


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scene") / "town.tif"
    town((256, 320), seed=4).save(path)
    return path


def segment(image: object, output: object, *options: object) -> Result:
    return run("segment", image, output, "--points-per-side", 6, *options)


@pytest.mark.parametrize("suffix", [".parquet", ".gpkg", ".fgb", ".geojson"])
def test_every_format_opens_in_geopandas_with_the_rasters_crs(image: Path, tmp_path: Path, suffix: str) -> None:
    output = tmp_path / f"objects{suffix}"
    result = segment(image, output)
    assert result.exit_code == 0, result.output
    frame = gpd.read_parquet(output) if suffix == ".parquet" else gpd.read_file(output)
    with rasterio.open(image) as dataset:
        assert frame.crs == dataset.crs
        assert frame.total_bounds[0] >= dataset.bounds.left
        assert frame.total_bounds[3] <= dataset.bounds.top
    assert len(frame) > 3
    assert frame.geometry.is_valid.all()
    assert {"predicted_iou", "stability_score", "area_m2"} <= set(frame.columns)
    assert f"{len(frame)} objects in {output}" in result.stderr
    assert result.stdout == ""


def test_area_of_interest_limits_the_objects(image: Path, tmp_path: Path) -> None:
    with rasterio.open(image) as dataset:
        left, bottom, right, top = dataset.bounds
        crs = dataset.crs
    aoi = gpd.GeoDataFrame(geometry=gpd.GeoSeries.from_xy([(left + right) / 2], [(bottom + top) / 2]).buffer(25), crs=crs)
    aoi.to_crs(4326).to_file(tmp_path / "aoi.gpkg")
    points = "--points-per-side", 16
    assert segment(image, tmp_path / "all.parquet", *points).exit_code == 0
    assert segment(image, tmp_path / "some.parquet", *points, "--aoi", tmp_path / "aoi.gpkg").exit_code == 0
    every, some = gpd.read_parquet(tmp_path / "all.parquet"), gpd.read_parquet(tmp_path / "some.parquet")
    assert 0 < len(some) < len(every)
    assert some.intersects(aoi.geometry.iloc[0].buffer(1)).all()


def test_existing_output_is_kept_unless_overwriting_is_asked(image: Path, tmp_path: Path) -> None:
    output = tmp_path / "objects.geojson"
    output.write_text("mine")
    refused = segment(image, output)
    assert refused.exit_code == 1
    assert "--overwrite" in refused.stderr or "overwrite" in refused.stderr
    assert output.read_text() == "mine"
    assert segment(image, output, "--overwrite").exit_code == 0
    assert json.loads(output.read_text())["type"] == "FeatureCollection"


def bad_file(kind: str, folder: Path, image: Path) -> Path:
    path = folder / "in.tif"
    match kind:
        case "missing":
            return path
        case "text":
            path.write_text("not a raster\n" * 100)
        case "truncated":
            path.write_bytes(image.read_bytes()[: image.stat().st_size // 2])
        case "empty":
            path.touch()
        case "folder":
            path.mkdir()
    return path


@pytest.mark.parametrize("kind", ["missing", "text", "truncated", "empty", "folder"])
def test_rasters_that_cannot_be_read_are_named_without_a_traceback(kind: str, image: Path, tmp_path: Path) -> None:
    source = bad_file(kind, tmp_path, image)
    refused(segment(source, tmp_path / "out.gpkg"), "in.tif", tmp_path, source)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--bands", "9"], "band"),
        (["--bands", "infrared"], "infrared"),
        (["--bands", "1,2"], "band"),
        (["--model", "sam-vit-x"], "sam-vit-"),
        (["--overlap", "500"], "overlap"),
        (["--device", "cuda:7"], "cuda"),
        (["--scheduler", "tcp://127.0.0.1:1"], "scheduler"),
        (["--min-area", "-1"], "min_area"),
    ],
)
def test_options_that_cannot_work_are_refused(
    options: list[str], message: str, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("samgeo.segmentation.execution.dask_cluster.CONNECT_SECONDS", 0.5)
    refused(segment(image, tmp_path / "out.gpkg", *options), message, tmp_path)


def test_area_of_interest_elsewhere_is_refused(image: Path, tmp_path: Path) -> None:
    aoi = tmp_path / "aoi.geojson"
    gpd.GeoDataFrame(geometry=gpd.GeoSeries.from_xy([-60], [-30]).buffer(0.01), crs=4326).to_file(aoi)
    refused(segment(image, tmp_path / "out.gpkg", "--aoi", aoi), "area of interest", tmp_path, aoi)


@pytest.mark.parametrize("output", ["nowhere/out.gpkg", "out.xyz", "out"])
def test_outputs_that_cannot_be_written_are_refused_before_work(output: str, image: Path, tmp_path: Path) -> None:
    refused(segment(image, tmp_path / output), output, tmp_path)


class Boom:
    """A pickle that touches a file when it is loaded."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple:
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("kind", ["corrupt", "pickle", "torch-pickle", "safetensors"])
def test_checkpoints_that_are_corrupt_or_unsafe_are_refused(kind: str, image: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / ("model.safetensors" if kind == "safetensors" else "model.pth")
    trace = tmp_path / "the-pickle-ran"
    match kind:
        case "corrupt":
            checkpoint.write_bytes(b"PK\x03\x04" + bytes(range(256)) * 8)
        case "pickle":
            checkpoint.write_bytes(pickle.dumps(Boom(trace)))
        case "torch-pickle":
            torch.save({"image_encoder.pos_embed": Boom(trace)}, checkpoint)
        case "safetensors":
            checkpoint.write_bytes(b"\xff" * 4096)
    refused(segment(image, tmp_path / "out.gpkg", "--model", checkpoint), checkpoint.name, tmp_path, checkpoint)
    assert not trace.exists()


@pytest.mark.parametrize("suffix", [".parquet", ".gpkg", ".fgb", ".geojson"])
def test_a_disk_that_is_full_at_the_end_leaves_nothing(
    suffix: str, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    monkeypatch.setattr(Path, "replace", full)
    refused(segment(image, tmp_path / f"out{suffix}"), "space", tmp_path)


def refused(result: Result, message: str, folder: Path, *present: Path) -> None:
    """One message that a person can use, exit code 1, and no file but those that were there."""
    assert result.exit_code == 1, result.output
    assert message.lower() in result.stderr.lower()
    assert result.stderr.splitlines()[-1].strip()
    assert "Traceback" not in result.output
    assert set(folder.iterdir()) <= set(present)


def test_wrong_usage_exits_with_2() -> None:
    assert run("segment").exit_code == 2
    assert run("segment", "a.tif", "b.gpkg", "--window", "wide").exit_code == 2
    assert run("segment", "a.tif", "b.gpkg", "--stretch", "dark,bright").exit_code == 2


def test_show_draws_objects_over_the_raster(image: Path, tmp_path: Path) -> None:
    assert segment(image, tmp_path / "objects.fgb").exit_code == 0
    shown = run("show", image, tmp_path / "objects.fgb", "-o", tmp_path / "objects.png")
    assert shown.exit_code == 0, shown.output
    drawn = np.asarray(Image.open(tmp_path / "objects.png"))
    with rasterio.open(image) as dataset:
        plain = np.moveaxis(dataset.read([1, 2, 3]), 0, 2)
    assert drawn.shape == plain.shape
    assert (np.abs(drawn.astype(int) - plain).max(axis=2) > 20).mean() > 0.05


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        ((), {}),
        (("--column", "height"), {"column": "height"}),
        (("--no-fill",), {"fill": False}),
        (("--no-outline",), {"outline": False}),
    ],
)
def test_show_passes_colours_fill_and_outline_on(
    image: Path, tmp_path: Path, options: tuple[str, ...], arguments: dict[str, Any]
) -> None:
    with rasterio.open(image) as dataset:
        left, bottom, right, top = dataset.bounds
        middle = (bottom + top) / 2
        boxes = [shapely.box(left + 10, middle, left + 40, top - 10), shapely.box(right - 40, middle, right - 10, top - 10)]
        frame = gpd.GeoDataFrame({"height": [2.0, 9.0]}, geometry=boxes, crs=dataset.crs)
    frame.to_file(tmp_path / "boxes.gpkg")
    shown = run("show", image, tmp_path / "boxes.gpkg", "-o", tmp_path / "boxes.png", *options)
    assert shown.exit_code == 0, shown.output
    drawn = np.asarray(Image.open(tmp_path / "boxes.png"))
    np.testing.assert_array_equal(drawn, np.asarray(show(image, frame, **arguments)))
    if arguments:
        assert (drawn != np.asarray(show(image, frame))).any()


def test_show_refuses_a_column_that_the_result_lacks(image: Path, tmp_path: Path) -> None:
    with rasterio.open(image) as dataset:
        frame = gpd.GeoDataFrame({"height": [2.0]}, geometry=[shapely.box(*dataset.bounds)], crs=dataset.crs)
    frame.to_file(tmp_path / "boxes.gpkg")
    refused = run("show", image, tmp_path / "boxes.gpkg", "-o", tmp_path / "boxes.png", "--column", "depth")
    assert refused.exit_code == 1
    assert "depth" in refused.stderr
    assert not (tmp_path / "boxes.png").exists()


def test_models_are_listed_and_the_bundled_one_is_at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMGEO_MODELS", str(tmp_path))
    (tmp_path / "mobile_sam.pt").touch()
    listed = run("models", "list")
    assert listed.exit_code == 0
    header, *rows = listed.stdout.splitlines()
    assert header.split() == ["name", "model", "kind", "input", "parameters", "file", "licence", "here"]
    assert len(rows) == len(list_models())
    here = {row.split()[0]: row.split()[-1] for row in rows}
    assert [here[name] for name in ("tiny", "mobile-sam", "sam-vit-l")] == ["bundled", "yes", "no"]
    assert "SAM License (gated)" in listed.stdout
    path = run("models", "path", "tiny")
    assert path.exit_code == 0
    assert Path(path.stdout.strip()).exists()
    assert run("models", "path", "mobile-sam").stdout.strip() == str(tmp_path / "mobile_sam.pt")


def test_a_model_is_described() -> None:
    shown = run("models", "info", "sam2.1-hiera-tiny")
    assert shown.exit_code == 0
    for text in (
        "licence:",
        "Apache-2.0",
        "arXiv:2408.00714",
        "predicted IoU > 0.8",
        "293 GFLOP a window",
        "hf://facebook/sam2.1",
    ):
        assert text in shown.stdout
    unknown = run("models", "info", "sam2-tiny")
    assert unknown.exit_code == 1
    assert "Did you mean" in unknown.stderr


def test_the_licence_is_shown_before_a_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SAMGEO_OFFLINE", "HF_HUB_OFFLINE", "SAMGEO_MODELS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SAMGEO_HOME", str(tmp_path))
    monkeypatch.setattr("samgeo.models.registry.fetch", lambda urls, file, **_: tmp_path / file)
    for options in ([], ["-v"]):
        fetched = run(*options, "models", "fetch", "mobile-sam")
        assert fetched.stdout.strip() == str(tmp_path / "mobile_sam.pt")
        assert fetched.stderr.count("Note: mobile-sam: the weights (41 MB) have the licence Apache-2.0") == 1


def test_demo_finds_buildings_of_its_own_town(tmp_path: Path) -> None:
    result = run("demo", tmp_path, "--size", 384)
    assert result.exit_code == 0, result.output
    first, second, *_ = result.stdout.splitlines()
    assert first.startswith("samgeo footprints")
    assert second.startswith("samgeo segment")
    found = [int(re.search(r"(\d+) of \d+ buildings found", line)[1]) for line in (first, second)]
    assert min(found) > 30
    written = {"town.tif", "footprints.parquet", "footprints.png", "objects.parquet", "objects.png"}
    assert {path.name for path in tmp_path.iterdir()} == written


def test_a_raster_without_crs_is_segmented_in_pixels(tmp_path: Path) -> None:
    scene = town((128, 128), seed=2)
    source = tmp_path / "plain.tif"
    with rasterio.open(
        source, "w", driver="GTiff", width=128, height=128, count=3, dtype="uint8", transform=from_origin(0, 128, 1, 1)
    ) as dataset:
        dataset.write(scene.image.transpose(2, 0, 1))
    result = segment(source, tmp_path / "objects.gpkg")
    assert result.exit_code == 0, result.output
    frame = gpd.read_file(tmp_path / "objects.gpkg")
    assert "area_px" in frame.columns
    assert frame.crs is None
    assert "no CRS" in result.stderr


def test_verbose_says_what_is_done(image: Path, tmp_path: Path) -> None:
    done = run("-v", "segment", image, tmp_path / "objects.parquet", "--points-per-side", 6)
    assert done.exit_code == 0, done.output
    assert "INFO samgeo.models.registry: Loading the model tiny on cpu in torch.float32." in done.stderr
    assert "windows; 0 were there before." in done.stderr
    assert "INFO" not in segment(image, tmp_path / "other.parquet").stderr
