"""Prompts from another raster: regions of it, resampling to the windows of the image, and the objects that they give."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from odc.geo.geobox import GeoBox
from rasterio.warp import Resampling, calculate_default_transform, reproject

import samgeo
from samgeo.cli import main
from samgeo.errors import OptionError, RasterError, VectorError
from samgeo.geo.grid import Rect
from samgeo.geo.vector.reading import read_provenance, read_vectors
from samgeo.geo.warping import WarpedBand
from samgeo.segmentation import PromptCoverageWarning, RasterPrompts
from samgeo.segmentation.prompts.regions import regions_of
from samgeo.segmentation.windows.proposals import WindowView
from samgeo.testing import Oracle, encode_ids, write_raster

SHAPE = (112, 140)


def squares() -> np.ndarray:
    """Labels of squares in rows and columns, and of one bar that is longer than a window."""
    labels = np.zeros(SHAPE, dtype=np.int32)
    number = 0
    for y in range(6, 70, 36):
        for x in range(6, 130, 36):
            number += 1
            labels[y : y + 22, x : x + 22] = number
    labels[88:102, 10:130] = number + 1
    return labels


LABELS = squares()
COUNT = int(LABELS.max())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with an image, heights of every object, and a surface and a terrain model."""
    folder = tmp_path_factory.mktemp("heights")
    write_raster(folder / "image.tif", encode_ids(LABELS))
    heights = np.where(LABELS > 0, 4.0 + LABELS % 5, 0).astype(np.float32)
    write_raster(folder / "heights.tif", heights)
    terrain = np.add.outer(np.linspace(100, 140, SHAPE[0]), np.linspace(0, 30, SHAPE[1])).astype(np.float32)
    write_raster(folder / "dtm.tif", terrain)
    write_raster(folder / "dsm.tif", terrain + heights)
    return folder


@pytest.fixture(scope="module")
def whole(folder: Path):
    """Return the objects of all heights."""
    return found(folder, folder / "heights.tif")


def found(folder: Path, prompts: object, **options: object):
    return samgeo.segment(folder / "image.tif", prompts_from=prompts, model=Oracle(64), progress=False, **options)


def test_peaks_are_separated_by_valleys_that_are_deep_enough() -> None:
    y, x = np.mgrid[:40, :80]
    hills = np.maximum(10 - np.hypot(x - 20, y - 20), 9 - np.hypot(x - 35, y - 20))
    two = regions_of(hills, 1.0)
    assert two.max() == 2
    assert two[20, 20] != two[20, 35]
    assert ((two > 0) == (hills > 0)).all()
    # The pass is at a height of 2, so that the lower peak rises by 7.
    assert regions_of(hills, 7.5).max() == 1
    assert regions_of(np.where(hills > 2.5, hills, -1), 100).max() == 2


def test_flat_regions_are_whole_and_numbered_in_reading_order() -> None:
    values = np.full((20, 20), -1.0)
    values[12:18, 1:8], values[2:6, 10:18] = 3, 5
    values[10, 15] = np.nan
    regions = regions_of(values, 0.0)
    assert regions.max() == 2
    assert (regions[2:6, 10:18] == 1).all()
    assert (regions[12:18, 1:8] == 2).all()
    assert (regions_of(np.ones((5, 5)), 0) == 1).all()
    assert (regions_of(np.full((5, 5), np.nan), 0) == 0).all()


def test_noise_below_the_prominence_makes_no_regions() -> None:
    noise = np.random.default_rng(0).normal(5, 0.1, (60, 60))
    assert regions_of(noise, 1.0).max() == 1
    assert regions_of(noise, 0.05).max() > 20


@pytest.mark.parametrize("pair", [False, True])
def test_every_region_gives_its_object_once_over_all_windows(folder: Path, whole, pair: bool) -> None:
    result = found(folder, (folder / "dsm.tif", folder / "dtm.tif")) if pair else whole
    assert len(result) == COUNT
    assert result["complete"].all()
    areas = sorted(result["area_m2"] * 4)
    np.testing.assert_allclose(areas, sorted(np.bincount(LABELS.ravel())[1:]), rtol=1e-3)
    assert result["class"].eq("object").all()
    assert result["score"].between(0.8, 1).all()
    made = result.attrs["samgeo"]["options"]["prompts_from"]
    assert (made["threshold"], made["scale"], made["prominence"], made["coverage"]) == (2.0, 1.0, 1.0, 1.0)


def test_only_what_is_high_enough_is_found_and_names_come_from_what(folder: Path) -> None:
    heights = 4 + np.arange(1, COUNT + 1) % 5
    result = found(folder, RasterPrompts(folder / "heights.tif", threshold=6.5, what="tower"))
    assert len(result) == int((heights > 6.5).sum())
    assert result["class"].eq("tower").all()


def test_a_negative_scale_finds_low_values(folder: Path, tmp_path: Path) -> None:
    radar = write_raster(tmp_path / "radar.tif", np.where(LABELS == 3, -22, -8).astype(np.float32))
    result = found(folder, RasterPrompts(radar, threshold=-15, scale=-2))
    assert result["area_m2"].tolist() == pytest.approx([22 * 22 / 4], rel=1e-3)


def test_another_grid_in_another_crs_gives_the_same_objects(folder: Path, whole, tmp_path: Path) -> None:
    with rasterio.open(folder / "heights.tif") as heights:
        transform, width, height = calculate_default_transform(
            heights.crs, 4326, heights.width, heights.height, *heights.bounds
        )
        warped = np.full((height, width), -9999, dtype=np.float32)
        reproject(rasterio.band(heights, 1), warped, dst_transform=transform, dst_crs=4326, dst_nodata=-9999,
                  resampling=Resampling.bilinear)  # fmt: skip
    path = write_raster(tmp_path / "degrees.tif", warped, crs=4326, transform=transform, nodata=-9999)
    result = found(folder, path)
    assert len(result) == COUNT
    assert result.geometry.area.sum() == pytest.approx(whole.geometry.area.sum())


def test_touching_objects_are_separated_by_a_valley_or_by_a_step(tmp_path: Path) -> None:
    labels = np.zeros((64, 64), dtype=np.int32)
    labels[20:44, 8:30], labels[20:44, 30:56] = 1, 2
    image = write_raster(tmp_path / "image.tif", encode_ids(labels))
    # The second one is higher, and there is no valley between the two.
    heights = write_raster(tmp_path / "heights.tif", np.select([labels == 1, labels == 2], [4, 12], 0).astype(np.float32))
    options = {"model": Oracle(64), "progress": False}
    assert len(samgeo.segment(image, prompts_from=heights, **options)) == 1
    both = samgeo.segment(image, prompts_from=RasterPrompts(heights, split="steps"), **options)
    assert sorted(both["area_m2"] * 4) == pytest.approx([22 * 24, 26 * 24], rel=1e-3)


def test_workers_and_a_run_give_the_same_and_another_threshold_is_another_run(folder: Path, whole, tmp_path: Path) -> None:
    again = found(folder, folder / "heights.tif", workers=2, run_dir=tmp_path / "run")
    assert again.geometry.equals(whole.geometry)
    assert again["score"].equals(whole["score"])
    with pytest.raises(samgeo.SamgeoError, match="prompts_from"):
        found(folder, RasterPrompts(folder / "heights.tif", threshold=3), run_dir=tmp_path / "run")


def test_values_are_resampled_to_a_grid_without_nodata(tmp_path: Path) -> None:
    values = np.arange(40 * 40, dtype=np.float32).reshape(40, 40)
    values[0, 0] = -1
    band = WarpedBand.open(write_raster(tmp_path / "values.tif", values, nodata=-1))
    grid = band.geobox
    same = band.read(grid)
    assert np.isnan(same[0, 0])
    np.testing.assert_allclose(same[1:], values[1:], rtol=1e-6)
    # A coarser grid has the means of squares, and a shifted one reaches outside.
    coarse = band.read(GeoBox((10, 10), grid.affine * grid.affine.scale(4), grid.crs))
    np.testing.assert_allclose(coarse[1:], values.reshape(10, 4, 10, 4).mean((1, 3))[1:], rtol=1e-5)
    shifted = band.read(GeoBox((40, 40), grid.affine * grid.affine.translation(30, 0), grid.crs))
    assert np.isnan(shifted[:, 10:]).all()
    np.testing.assert_allclose(shifted[5, :9], values[5, 30:39])
    assert band.pixel_size(GeoBox((10, 10), grid.affine * grid.affine.scale(4), grid.crs)) == pytest.approx(0.25)


def test_a_source_can_be_sent_to_other_processes(folder: Path) -> None:
    image = samgeo.Raster.open(folder / "image.tif")
    source = RasterPrompts(folder / "heights.tif").source(image)
    copy = pickle.loads(pickle.dumps(source))  # noqa: S301 - made here
    assert copy.digest == source.digest
    view = WindowView(Rect(0, 0, 64, 64), (64, 64), np.ones((64, 64), dtype=bool), Rect(0, 0, 56, 56), 1, 1.0)
    model = Oracle(64)
    first, again = (one.propose(model, None, view)[0] for one in (source, copy))
    np.testing.assert_array_equal(first.mask_prompts, again.mask_prompts)
    np.testing.assert_array_equal(first.boxes, again.boxes)
    # The mask prompt is (value - 2) / 1 inside its own region, and negative in the others.
    assert first.mask_prompts is not None
    inside = [prompt[int(y / 4), int(x / 4)] for prompt, (x, y) in zip(first.mask_prompts, first.points, strict=True)]
    expected = {2.0 + number % 5 for number in np.unique(LABELS[:56, :56]).tolist() if number}
    assert set(np.round(inside, 4).tolist()) == expected
    assert all((prompt > 0).sum() <= 36 for prompt in first.mask_prompts)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")  # the test reads it with rasterio
def test_missing_data_is_told(folder: Path, tmp_path: Path) -> None:
    with rasterio.open(folder / "heights.tif") as heights:
        values, transform = heights.read(1), heights.transform
    values[:, 70:] = -9999
    half = write_raster(tmp_path / "half.tif", values, nodata=-9999)
    with pytest.warns(PromptCoverageWarning, match="50 % of"):
        result = found(folder, half)
    assert result.attrs["samgeo"]["options"]["prompts_from"]["coverage"] == 0.5
    assert 0 < len(result) < COUNT
    far = write_raster(tmp_path / "far.tif", values, transform=transform.translation(1e5, 0) * transform)
    with pytest.raises(OptionError, match="have no data on"):
        found(folder, far)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": 0}, "scale is 0"),
        ({"threshold": float("nan")}, "threshold is nan"),
        ({"prominence": -1}, "prominence is -1"),
        ({"split": "peaks"}, "split is 'peaks'"),
        ({"what": ""}, "what is empty"),
    ],
)
def test_bad_prompts_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        RasterPrompts("heights.tif", **options)  # type: ignore[arg-type]


def test_bad_combinations_are_refused(folder: Path, tmp_path: Path) -> None:
    heights = folder / "heights.tif"
    for options in ({"scales": (1, 2)}, {"pred_iou": 0.5}, {"points_per_side": 8}, {"mask_nms": None}):
        with pytest.raises(OptionError, match=f"{next(iter(options))} belongs to automatic segmentation"):
            found(folder, heights, **options)
    with pytest.raises(OptionError, match="tuple of 3"):
        found(folder, (heights, heights, heights))
    with pytest.raises(RasterError, match="no CRS"):
        found(folder, np.zeros(SHAPE, dtype=np.float32))
    with pytest.raises(SamgeoErrors, match="input"):
        found(folder, heights, output=heights, overwrite=True)


SamgeoErrors = (VectorError, OptionError)


def test_arrays_on_one_grid_need_no_crs() -> None:
    image, heights = encode_ids(LABELS), np.where(LABELS > 0, 5, 0).astype(np.float32)
    result = samgeo.segment(image, prompts_from=heights, model=Oracle(64), progress=False)
    assert len(result) == COUNT
    with pytest.raises(RasterError, match="not the same shape"):
        samgeo.segment(image, prompts_from=heights[1:], model=Oracle(64), progress=False)


def test_the_command_takes_the_rasters_and_their_options(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "towers.gpkg"
    arguments = ["segment", folder / "image.tif", output, "--prompts-from", folder / "dsm.tif", "--prompts-minus",
                 folder / "dtm.tif", "--prompt-threshold", "6.5", "--prompt-split", "steps", "--quiet"]  # fmt: skip
    run = CliRunner().invoke(main, list(map(str, arguments)))
    assert run.exit_code == 0, run.output
    made = (read_provenance(output) or {})["options"]["prompts_from"]
    assert (made["threshold"], made["split"]) == (6.5, "steps")
    assert read_vectors(output)["class"].eq("object").all()
    wrong = CliRunner().invoke(main, ["segment", str(folder / "image.tif"), str(tmp_path / "x.gpkg"), "--prompt-scale", "2"])
    assert wrong.exit_code == 1
    assert "--prompts-from" in wrong.output
