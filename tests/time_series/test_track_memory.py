"""Objects that the memory of SAM 2 follows: the answers are those of transformers, and rows, gaps and runs are right."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
import torch
from click.testing import CliRunner
from pandas.testing import assert_frame_equal
from rasterio.features import rasterize
from safetensors.torch import load_file, save_file
from sam2_video import SIDE, by_hand, random_video_model
from scipy.ndimage import gaussian_filter
from torch.nn.functional import interpolate

import samgeo
from samgeo.cli import main
from samgeo.errors import (
    CheckpointError,
    ModelError,
    OptionError,
    RasterError,
    RunError,
    SamgeoError,
    StoppedError,
    VectorError,
)
from samgeo.geo.grid import Rect
from samgeo.models.hf import memory_checkpoint
from samgeo.models.hf.memory_checkpoint import load_sam2_memory
from samgeo.models.hf.sam2_memory import BOX_LABELS, MemoryPrompt, Sam2Memory
from samgeo.models.preprocessing import normalise
from samgeo.segmentation import HolesWarning
from samgeo.testing import write_raster
from samgeo.time_series import summarize, track_to_file
from samgeo.time_series.tracking.memory import following, memory_series

YEARS = (2015, 2016, 2017, 2018, 2019, 2020)
SHAPE = (100, 112)
# In pixels. Their windows of 64 pixels are those that begin at (32, 32), (48, 36) and (0, 0).
BOXES = {7: (60, 58, 72, 74), 3: (88, 70, 104, 94), 5: (10, 8, 26, 20)}


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Keep torch from waiting for processors that other tests use."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def network():
    """A model whose object score is sometimes above 0."""
    return random_video_model()


@pytest.fixture(scope="module")
def folder(network, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "small"
    network.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    random = np.random.default_rng(1)
    base = gaussian_filter(random.normal(size=(*SHAPE, 3)), (2, 2, 0)) * 300 + 120
    path = tmp_path_factory.mktemp("series")
    return [
        write_raster(path / f"{year}.tif", np.clip(base + random.normal(0, 12, (*SHAPE, 3)), 0, 255).astype(np.uint8))
        for year in YEARS
    ]


@pytest.fixture(scope="module")
def series(images: list[Path]) -> dict[int, Path]:
    return dict(zip(YEARS, images, strict=True))


def placed(image: Path, boxes: dict[int, tuple[int, int, int, int]], **columns: object) -> gpd.GeoDataFrame:
    """Boxes in pixels as a table with ids in the CRS of an image."""
    geobox = samgeo.Raster.open(image).geobox
    corners = [(*(geobox.affine * (box[0], box[1])), *(geobox.affine * (box[2], box[3]))) for box in boxes.values()]
    outlines = [shapely.box(min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)) for x0, y0, x1, y1 in corners]
    return gpd.GeoDataFrame({"id": list(boxes), **columns}, geometry=outlines, crs=str(geobox.crs))


@pytest.fixture(scope="module")
def options(folder: Path) -> Iterator[dict[str, object]]:
    """Options of calls, which share one loaded model."""
    load = cache(memory_series.load_sam2_memory)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(memory_series, "load_sam2_memory", load)
        yield {"model": folder, "memory": True, "device": "cpu", "progress": False}


@pytest.mark.parametrize("kind", ["points", "box", "mask"])
def test_answers_are_those_of_transformers(network, kind: str) -> None:
    """Also where older dates are forgotten: the model reads 3 memories and 4 pointers."""
    pictures = np.random.default_rng(0).integers(0, 256, (9, SIDE, SIDE, 3), dtype=np.uint8)
    pixels = normalise(torch.from_numpy(pictures)).contiguous()
    model = Sam2Memory(network, name="small", digest="0")
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    mask[10:30, 20:50] = True
    points = np.float32([[20.5, 20.5], [40.5, 50.5]])
    labels = np.array([1, 0] if kind == "points" else BOX_LABELS)
    if kind == "mask":
        prompt, expected = MemoryPrompt(mask=mask), by_hand(network, pixels, 3, mask=torch.from_numpy(mask))
    else:
        prompt = MemoryPrompt(points=points, labels=labels)
        how = {"points": torch.from_numpy(points - 0.5), "labels": torch.from_numpy(labels)}
        expected = by_hand(network, pixels, 3, **how)
    followed = model.follow(9, 3, prompt)
    for date in (3, 4, 5, 6, 7, 8, 2, 1, 0):
        answer = followed.answer(date, model.encode(pictures[date], (SIDE, SIDE)), backwards=date < 3)
        logits, score = expected[date]
        assert answer.score == pytest.approx(score, abs=1e-6)
        assert answer.is_present == (score > 0)
        if kind == "mask" and date == 3:
            assert torch.equal(answer.logits > 0, torch.from_numpy(mask))
        else:
            torch.testing.assert_close(answer.logits, logits, rtol=0, atol=1e-5)


def test_rows_are_those_of_transformers_at_the_right_place(network, series, options) -> None:
    objects = placed(series[2015], {7: BOXES[7]})
    result = samgeo.track(series, objects=objects, prompt_date=2017, min_part=0, min_hole=0, **options)
    told = result.attrs["samgeo"]
    assert told["options"]["windows"] == [{"ids": [7], "window_px": [32, 32, 96, 96], "scale": 1}]
    rect = Rect(32, 32, 96, 96)
    pictures = np.stack([samgeo.Raster.open(path).read(rect)[0] for path in series.values()])
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    x0, y0, x1, y1 = BOXES[7]
    mask[y0 - 32 : y1 - 32, x0 - 32 : x1 - 32] = True
    pixels = normalise(torch.from_numpy(pictures)).contiguous()
    expected = by_hand(network, pixels, 2, mask=torch.from_numpy(mask))
    scores = {year: expected[number][1] for number, year in enumerate(YEARS)}
    present = [year for year in YEARS if scores[year] > 0]
    assert present == [2015, 2016, 2017, 2020]
    assert result.date.dt.year.tolist() == present
    assert result.object_score.tolist() == pytest.approx([scores[year] for year in present], abs=1e-5)
    absent = {int(date[:4]): score for date, score in told["track"]["absent"]["7"].items()}
    assert absent == pytest.approx({year: scores[year] for year in YEARS if year not in present}, abs=1e-5)
    gaps = [later - earlier - 1 for earlier, later in pairwise(present)]
    assert result.missed.tolist() == [0, *gaps]
    raster = samgeo.Raster.open(series[2015])
    for row in result.itertuples():
        number = YEARS.index(row.date.year)
        drawn = rasterize([row.geometry], out_shape=SHAPE, transform=raster.geobox.affine).astype(bool)
        logits = interpolate(expected[number][0][None, None], (SIDE, SIDE), mode="bilinear")[0, 0]
        wanted = np.zeros(SHAPE, dtype=bool)
        wanted[32:96, 32:96] = mask if number == 2 else (logits > 0).numpy()
        assert np.array_equal(drawn, wanted)
        assert row.area_m2 == pytest.approx(wanted.sum() / 4, rel=2e-3)  # pixels of half a metre
        assert row.complete == (number == 2)
    summary = summarize(result).loc[7]
    assert (summary.first_seen.year, summary.last_seen.year, summary.seen) == (present[0], present[-1], len(present))
    assert summary.missed == sum(gaps)


def test_ids_persist_and_results_do_not_depend_on_other_objects(series, options) -> None:
    series = {year: series[year] for year in (2015, 2018, 2020)}
    objects = placed(series[2015], BOXES, date=["2015", "2018", "2020"])
    points = objects.iloc[[2, 2]].assign(id=12, date="2018", label=[1, 0])
    middle = points.geometry.iloc[0].centroid
    points = points.set_geometry([middle, shapely.Point(middle.x + 15, middle.y)])
    layer = gpd.pd.concat([objects, points], ignore_index=True)
    together = samgeo.track(series, objects=layer, **options)
    assert set(together.id) <= {3, 5, 7, 12}
    assert {3, 5, 7} <= set(together.id)
    assert not together.duplicated(["id", "date"]).any()
    assert together.sort_values(["date", "id"]).index.tolist() == together.index.tolist()
    for number, box, year in zip(BOXES, objects.geometry, (2015, 2018, 2020), strict=True):
        shown = together[(together.id == number) & (together.date.dt.year == year)]
        assert shown.geometry.iloc[0].symmetric_difference(box).area < 1e-6
        assert shown.object_score.iloc[0] == 10
    windows = together.attrs["samgeo"]["options"]["windows"]
    assert [one["ids"] for one in windows] == [[7], [5, 12], [3]] or [one["ids"] for one in windows] == [[7], [12], [3], [5]]
    mixed = samgeo.track(series, objects=layer.iloc[[3, 1, 4, 0, 2]], **options)
    assert mixed.object_id.tolist() != together.object_id.tolist()
    assert_frame_equal(mixed.drop(columns="object_id"), together.drop(columns="object_id"))
    alone = samgeo.track(series, objects=layer[layer.id == 7], **options)
    assert_frame_equal(alone, together[together.id == 7].reset_index(drop=True))


def test_points_that_show_nothing_give_no_rows(series, folder: Path, options, monkeypatch, tmp_path: Path) -> None:
    absent = load_sam2_memory(folder, device="cpu")
    absent.network.mask_decoder.pred_obj_score_head.proj_out.bias.fill_(-100)
    monkeypatch.setattr(memory_series, "load_sam2_memory", lambda *_, **__: absent)
    pictures = [samgeo.Raster.open(path).read(Rect(0, 0, 50, 40))[0] for path in series.values()][:2]
    output = tmp_path / "none.gpkg"
    result = samgeo.track(pictures, output, dates=[2015, 2016], objects=[shapely.Point(20, 20)], **options)
    assert (len(result), len(gpd.read_file(output)), len(summarize(result))) == (0, 0, 0)
    assert {"id", "area_px", "object_score", "missed"} <= set(result.columns)
    scores = result.attrs["samgeo"]["track"]["absent"]["1"]
    assert set(scores) == {"2015-01-01", "2016-01-01"}
    assert max(scores.values()) < -50


def test_large_objects_are_read_with_coarser_pixels_and_small_ones_with_a_zoom(series, options) -> None:
    two = {year: series[year] for year in (2015, 2016)}
    large = placed(series[2015], {1: (4, 6, 60, 98)})
    result = samgeo.track(two, objects=large, **options)
    told = result.attrs["samgeo"]["options"]["windows"]
    assert told == [{"ids": [1], "window_px": [0, 0, 256, 256], "scale": 4}]
    shown = result.geometry.iloc[0]
    assert shown.symmetric_difference(large.geometry[0]).area < 0.05 * shown.area
    small = placed(series[2015], {1: (50, 50, 58, 57)})
    boxes = samgeo.track(two, objects=small, zoom=2, as_boxes=True, **options)
    assert boxes.attrs["samgeo"]["options"]["windows"] == [{"ids": [1], "window_px": [40, 40, 72, 72], "scale": 1}]
    outline = samgeo.track(two, objects=small, zoom=2, **options)
    assert outline.geometry.iloc[0].symmetric_difference(small.geometry[0]).area < 1e-6
    assert not len(boxes) or boxes.object_score.iloc[0] != 10


def test_dates_without_data_are_left_out(series, options, tmp_path: Path) -> None:
    there = np.ones(SHAPE, dtype=bool)
    there[50:80, 50:80] = False
    pixels, _ = samgeo.Raster.open(series[2016]).read(Rect(0, 0, SHAPE[1], SHAPE[0]))
    clouds = write_raster(tmp_path / "clouds.tif", pixels, mask=there)
    some = {2015: series[2015], 2016: clouds, 2017: series[2017]}
    layer = placed(series[2015], {7: BOXES[7]})
    result = samgeo.track(some, objects=layer, **options)
    assert 2016 not in set(result.date.dt.year)
    assert "2016-01-01" not in result.attrs["samgeo"]["track"]["absent"].get("7", {})
    if len(result) == 2:
        assert result.unseen.tolist() == [0, 1]
    with pytest.raises(OptionError, match="object 7 is shown on 2016-01-01, and more than half of its place has no data"):
        samgeo.track(some, objects=layer, prompt_date=2016, **options)


def test_a_run_that_is_stopped_is_continued(series, options, tmp_path: Path) -> None:
    series = {year: series[year] for year in YEARS[:3]}
    layer = placed(series[2015], BOXES)
    alone, output = tmp_path / "alone.parquet", tmp_path / "out.parquet"
    samgeo.track(series, alone, objects=layer, **options)
    asked = iter([False] * 5)
    with pytest.raises(StoppedError):
        track_to_file(series, output, objects=layer, stop=lambda: next(asked, True), **options)
    assert not output.exists()
    kept = sorted(path.name for path in (tmp_path / "out.parquet.run" / "rows").glob("*.json"))
    assert kept == ["000000.json"]
    with pytest.raises(RunError, match="as_boxes was false"):
        samgeo.track(series, output, objects=layer, as_boxes=True, **options)
    asked = iter([False] * 12)
    done = track_to_file(series, output, objects=layer, stop=lambda: next(asked, True), **options)
    assert output.read_bytes() == alone.read_bytes()
    assert (done.objects, done.failures, done.folder) == (3, (), None)
    assert not (tmp_path / "out.parquet.run").exists()


def test_dates_that_cannot_be_read_are_told_and_tried_again(series, options, tmp_path: Path, monkeypatch) -> None:
    some = {year: series[year] for year in (2015, 2016, 2017)}
    layer, output = placed(series[2015], {7: BOXES[7]}), tmp_path / "out.parquet"
    read = following.read_square

    def broken(raster: samgeo.Raster, rect: Rect, scale: int):
        if raster.name.endswith("2016.tif"):
            raise RasterError("a block is damaged")
        return read(raster, rect, scale)

    with monkeypatch.context() as patched:
        patched.setattr(following, "read_square", broken)
        with pytest.warns(HolesWarning, match=r"2016-01-01: a block is damaged \(taken as no data\)"):
            first = samgeo.track(some, output, objects=layer, prompt_date=2017, **options)
    assert first.date.dt.year.max() == 2017
    assert 2016 not in set(first.date.dt.year)
    assert (tmp_path / "out.parquet.run").exists()
    again = samgeo.track(some, output, objects=layer, prompt_date=2017, retry_failed=True, **options)
    assert not (tmp_path / "out.parquet.run").exists()
    assert_frame_equal(again, samgeo.track(some, objects=layer, prompt_date=2017, **options))
    with monkeypatch.context() as patched:
        patched.setattr(following, "read_square", broken)
        with pytest.warns(HolesWarning, match="so that they are not followed"):
            none = samgeo.track(some, objects=layer, prompt_date=2016, **options)
    assert len(none) == 0


def test_models_without_memory_are_refused(series, folder: Path, tmp_path: Path, monkeypatch) -> None:
    def refused(model: object, told: str, kind: type[SamgeoError] = ModelError) -> None:
        with pytest.raises(kind, match=told) as caught:
            load_sam2_memory(model, device="cpu")
        if kind is ModelError:
            assert "hf://facebook/sam2.1-hiera-tiny" in str(caught.value)

    def saved(name: str, *, without: str = "", **changes: object) -> Path:
        path = tmp_path / name
        shutil.copytree(folder, path)
        config = json.loads((path / "config.json").read_text())
        (path / "config.json").write_text(json.dumps(config | changes))
        if without:
            tensors = load_file(path / "model.safetensors")
            some = {name: tensor for name, tensor in tensors.items() if not name.startswith(without)}
            save_file(some, path / "model.safetensors", metadata={"format": "pt"})
        return path

    refused("tiny", "tiny has no memory")
    refused("sam-vit-b", "sam-vit-b has no memory")
    refused(tmp_path / "absent", "there is no model and no folder")
    (tmp_path / "sam2.1_hiera_tiny.pt").write_bytes(b"PK")
    refused(tmp_path / "sam2.1_hiera_tiny.pt", "is a file, from which the memory cannot be read")
    refused(saved("image", model_type="sam2"), "of the type 'sam2', which has no memory")
    refused(saved("images", without="memory_"), r"has no tensors memory_attention\.\*")
    refused(saved("half", without="mask_decoder"), "tensors are missing, such as mask_decoder", CheckpointError)
    refused(saved("sizes", image_size=128), "do not fit each other", CheckpointError)
    refused(samgeo.load_model("tiny", device="cpu"), "loaded already")
    some = {year: series[year] for year in YEARS[:2]}
    with pytest.raises(ModelError, match="tiny has no memory"):
        samgeo.track(some, objects=placed(series[2015], {7: BOXES[7]}), memory=True, progress=False)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ModelError, match=r"not installed.*pip install 'samgeo\[hf\]'"):
        load_sam2_memory(folder)


def test_a_name_leads_to_the_repository_and_its_kind_is_told_before_the_download(folder: Path, monkeypatch) -> None:
    asked: list[str] = []
    config = {"model_type": "sam2_video"}

    def weights(repository: str) -> Path:
        asked.append(repository)
        return folder / "model.safetensors"

    monkeypatch.setattr(memory_checkpoint, "fetch_config", lambda _: config)
    monkeypatch.setattr(memory_checkpoint, "hub_weights", weights)
    model = load_sam2_memory("sam2.1-hiera-tiny", device="cpu")
    assert (model.name, model.input_size, asked) == ("hf://facebook/sam2.1-hiera-tiny", SIDE, ["facebook/sam2.1-hiera-tiny"])
    config["model_type"] = "sam3_video"
    with pytest.raises(ModelError, match="hf://facebook/sam3 is a model of the type 'sam3_video', which has no memory"):
        load_sam2_memory("hf://facebook/sam3", device="cpu")
    assert len(asked) == 1


def test_what_cannot_be_followed_is_refused(series, options, tmp_path: Path) -> None:
    layer = placed(series[2015], BOXES)
    two = {year: series[year] for year in YEARS[:2]}
    line = layer.set_geometry([shapely.LineString([(0, 0), (1, 1)])] * 3)
    for wrong, kind, told in (
        ({"objects": None}, OptionError, "give objects"),
        ({"objects": {2015: layer}}, OptionError, "mapping of dates"),
        ({"objects": [layer, layer]}, OptionError, "one layer for all dates"),
        ({"objects": layer[:0]}, OptionError, "no features"),
        ({"objects": line}, VectorError, "LineString"),
        ({"objects": layer.assign(id=["a", "b", "c"])}, OptionError, "whole numbers"),
        ({"objects": layer.assign(id=1)}, OptionError, "3 features have the id 1"),
        ({"objects": layer.assign(date="2014")}, OptionError, "is 2014-01-01, and the rasters have"),
        ({"objects": layer.assign(date="2015"), "prompt_date": 2015}, OptionError, "give one of them"),
        ({"prompt_date": 2014}, OptionError, "prompt_date is 2014-01-01"),
        ({"objects": layer.translate(1000)}, OptionError, "object 1 lies outside"),
        ({"objects": layer.centroid, "as_boxes": True}, OptionError, "as_boxes is given, and the objects are points"),
        ({"objects": layer, "max_gap": 3}, OptionError, "leave out max_gap"),
        ({"objects": layer, "what": "building", "aoi": layer}, OptionError, "leave out what, aoi"),
        ({"objects": layer, "workers": 2}, OptionError, "leave out workers"),
        ({"objects": layer, "zoom": 4.0}, OptionError, "zoom is 4"),
        ({"objects": layer, "min_part": -1.0}, OptionError, "min_part"),
        ({"memory": False, "as_boxes": True, "model": "tiny"}, OptionError, "as_boxes belong to memory"),
    ):
        with pytest.raises(kind, match=told):
            samgeo.track(two, **options | {"objects": layer} | wrong)


def test_the_encoder_alone_is_coarser_in_bfloat16(folder: Path) -> None:
    exact, half = (load_sam2_memory(folder, device="cpu", dtype=dtype) for dtype in ("float32", "bfloat16"))
    assert half.digest == f"{exact.digest}-bfloat16"
    picture = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    one, other = (model.encode(picture, (SIDE, 40)) for model in (exact, half))
    assert other.maps[2].dtype == torch.float32
    assert 0 < (one.maps[2] - other.maps[2]).abs().mean() < 0.1 * one.maps[2].abs().mean()
    padded = picture.copy()
    padded[:, 40:] = 9
    assert torch.equal(exact.encode(padded, (SIDE, 40)).maps[2], one.maps[2])


def test_the_command(series, folder: Path, options, tmp_path: Path) -> None:
    layer = placed(series[2015], BOXES)
    layer.to_file(tmp_path / "objects.gpkg")
    output = tmp_path / "tracks.gpkg"
    rasters = [str(path) for path in series.values()][:3]
    arguments = ["track", *rasters, str(output), "--dates", "2015,2016,2017", "--objects", str(tmp_path / "objects.gpkg")]
    arguments += ["--memory", "--prompt-date", "2016", "--model", str(folder), "--device", "cpu"]
    shown = CliRunner().invoke(main, arguments)
    assert shown.exit_code == 0, shown.output
    assert "3 objects at 3 dates" in shown.output
    assert "2016-01-01: 3" in shown.output
    written = gpd.read_file(output)
    some = {year: series[year] for year in YEARS[:3]}
    result = samgeo.track(some, objects=layer, prompt_date=2016, **options)
    assert written.id.tolist() == result.id.tolist()
    assert written.object_score.tolist() == result.object_score.tolist()
    refused = CliRunner().invoke(main, [*arguments, "--max-gap", "2", "--overwrite"])
    assert refused.exit_code == 1
    assert "leave out max_gap" in refused.output
