"""Objects like the examples are selected by the model's embedding and by their shape, without overlaps."""

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
from click.testing import CliRunner
from odc.geo.geobox import GeoBox

import samgeo
from samgeo.cli import main
from samgeo.errors import ModelError, OptionError, VectorError
from samgeo.geo.grid import Lattice
from samgeo.geo.raster.raster import Raster
from samgeo.models.protocols import Describing
from samgeo.models.registry import Gates, load_model
from samgeo.objects import (
    Selector,
    describe,
    filter_by_shape,
    keep_best,
    measure_shapes,
    more_like,
    select,
)
from samgeo.testing import Oracle, encode_ids, scattered

CRS = "EPSG:32645"


class Kinds(Oracle):
    """An oracle whose features only distinguish objects with odd ids from objects with even ids."""

    gates = Gates(points_per_side=16, pred_iou=0.5, stability=0.5)

    def features(self, embedding):
        cells = embedding[::4, ::4]
        return np.stack([cells % 2 == 1, (cells > 0) & (cells % 2 == 0), cells == 0], axis=-1).astype(np.float32)


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """Return the path of a raster of several windows, the objects found in it, and whether the id of each is odd."""
    labels = scattered(40, (400, 560), 3, min_size=20, max_size=50)
    path = tmp_path_factory.mktemp("blobs") / "blobs.tif"
    transform = rasterio.Affine(0.5, 0, 300_000, 0, -0.5, 3_000_000)
    profile = {"driver": "GTiff", "height": 400, "width": 560, "count": 3, "dtype": "uint8", "crs": CRS, "transform": transform}
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(np.moveaxis(encode_ids(labels), -1, 0))
    found = samgeo.segment(path, model=Kinds(256), progress=False)
    inner = found.representative_point()
    rows, columns = rasterio.transform.rowcol(transform, inner.x, inner.y)
    return path, found, labels[rows, columns] % 2 == 1


def squares(*boxes, crs=CRS, **columns):
    return gpd.GeoDataFrame(columns, geometry=[shapely.box(*box) for box in boxes], crs=crs)


def labelled(found, odd, count=4):
    labels = np.full(len(found), np.nan)
    labels[np.flatnonzero(odd)[:count]], labels[np.flatnonzero(~odd)[:count]] = 1, 0
    return labels


def test_features_tell_kinds_apart_in_every_window(scene):
    path, found, odd = scene
    features = describe(path, found, model=Kinds(256))
    assert list(features.index) == list(found.index)
    # The features have cells of 4 pixels, so that they differ from the masks at the outlines.
    assert (features.embedding_mean_0[odd] > 0.7).all()
    assert (features.embedding_mean_0[~odd] == 0).all() or (features.embedding_mean_0[~odd] < 0.1).all()
    assert (features.embedding_ring_2 > features.embedding_mean_2).all()


def test_what_is_like_the_accepted_examples_is_chosen(scene):
    path, found, odd = scene
    chosen = select(path, found.assign(mine=labelled(found, odd)), "mine", model=Kinds(256))
    assert set(chosen.index) == set(found.index[odd])
    assert chosen.score.between(0.5, 1).all()
    note = chosen.attrs["samgeo"]["select"]
    assert (note["accepted"], note["rejected"], note["chosen"], note["unmatched"]) == (4, 4, int(odd.sum()), 0)
    assert chosen.attrs["samgeo"]["model"]["name"] == "oracle"


def test_examples_may_be_rows_geometries_a_file_or_a_pair_in_any_crs(scene, tmp_path):
    path, found, odd = scene
    labels = labelled(found, odd)
    model = Kinds(256)
    wanted = select(path, found.assign(mine=labels), "mine", model=model)
    rows = found.assign(label=labels).dropna(subset="label")
    rows[["label", "geometry"]].to_crs(4326).to_parquet(tmp_path / "examples.parquet")
    pair = (found[labels == 1].geometry.to_list(), found[labels == 0])
    for examples in (rows, tmp_path / "examples.parquet", str(tmp_path / "examples.parquet"), pair):
        pd.testing.assert_frame_equal(select(path, found, examples, model=model), wanted.drop(columns="mine"))


def test_without_rejected_examples_the_others_stand_for_them(scene):
    path, found, odd = scene
    model = Kinds(256)
    examples = found[odd].iloc[:6].geometry.buffer(0.4)
    more = more_like(path, examples, found, model=model, min_score=0)
    order = odd[found.index.get_indexer(more.index)]
    assert len(more) == len(found) - 6
    assert order[: odd.sum() - 6].all()
    assert not set(more.index) & set(found[odd].index[:6])
    assert (np.diff(more.score) <= 0).all()


def test_more_like_segments_what_it_is_not_given(scene):
    path, found, odd = scene
    model = Kinds(256)
    pair = (found[odd].iloc[:4], found[~odd].iloc[:4])
    pd.testing.assert_frame_equal(more_like(path, pair, model=model), more_like(path, pair, found, model=model))


def test_a_store_gives_the_same_features(scene, tmp_path):
    path, found, _ = scene
    found = found.iloc[:3]
    fresh = describe(path, found, model="tiny")
    for _ in range(2):
        kept = describe(path, found, model="tiny", cache=tmp_path / "store")
        np.testing.assert_array_equal(fresh.to_numpy(), kept.to_numpy())


def test_an_object_smaller_than_a_cell_and_one_larger_than_a_window_have_features(scene):
    path, *_ = scene
    x0, y1 = 300_000, 3_000_000
    objects = squares((x0 + 10.1, y1 - 10.2, x0 + 10.2, y1 - 10.1), (x0 - 50, y1 - 250, x0 + 350, y1 + 50))
    whole = describe(path, objects, model=Kinds(256))
    assert np.isfinite(whole).all(axis=None)
    labels = scattered(40, (400, 560), 3, min_size=20, max_size=50)
    assert whole.embedding_mean_2[1] == pytest.approx((labels == 0).mean(), abs=0.05)


def test_objects_off_the_raster_have_no_features_and_no_score(scene):
    path, found, odd = scene
    strays = squares((0, 0, 10, 10)).assign(predicted_iou=1.0, stability_score=1.0)
    candidates = pd.concat([found, strays], ignore_index=True)
    features = describe(path, candidates, model=Kinds(256))
    labels = np.append(labelled(found, odd), np.nan)
    assert np.isnan(Selector.fit(features, labels).score(features)[-1])
    with pytest.raises(OptionError, match=f"row {len(found)} lies outside the raster"):
        Selector.fit(features, np.append(labels[:-1], 1))


def test_shape_alone_tells_squares_from_strips_without_a_model(scene):
    path, *_ = scene
    rng = np.random.default_rng(0)
    at = rng.uniform(0, 100, (40, 2))
    sides = np.where(np.arange(40)[:, None] % 2, [8, 8], [30, 2]) * rng.uniform(0.8, 1.2, (40, 2))
    objects = squares(*np.concatenate([at, at + sides], axis=1)).assign(label=[0.0, 1.0] * 4 + [np.nan] * 32)
    chosen = select(path, objects, "label", embedding=False, max_overlap=1)
    assert list(chosen.index) == list(range(1, 40, 2))


def test_models_describe_what_they_see():
    tiny = load_model("tiny", device="cpu")
    image = np.zeros((1, 512, 512, 3), dtype=np.uint8)
    image[:, :, 256:] = 200
    cells = tiny.features(tiny.embed(image)[0])
    assert isinstance(tiny, Describing)
    assert cells.shape == (128, 128, 224)
    assert cells.dtype == np.float32
    assert np.abs(cells[:, 96:] - cells[:, :32]).max() > 0.1
    assert not isinstance(Oracle(), Describing)


def test_a_model_without_features_is_refused(scene):
    path, found, odd = scene
    with pytest.raises(ModelError, match="embedding=False"):
        select(path, found.assign(mine=labelled(found, odd)), "mine", model=Oracle(256))


@pytest.mark.parametrize(
    ("examples", "error", "message"),
    [
        (lambda found: found.iloc[:0], OptionError, "no candidate matches"),
        (lambda found: found.assign(label=0), OptionError, "no candidate matches"),
        (lambda found: found.assign(label="yes"), OptionError, "is 'yes' in row 0"),
        (lambda found: found.assign(geometry=found.translate(9e4)), OptionError, "have no candidate"),
        (lambda _: [1, 2], VectorError, "not geometries"),
        (lambda _: "nowhere.gpkg", VectorError, "does not exist"),
    ],
)
def test_examples_that_cannot_work_are_refused(scene, examples, error, message):
    path, found, _ = scene
    with pytest.raises(error, match=message):
        select(path, found, examples(found), model=Kinds(256))


def test_a_selector_wants_the_measures_it_learned_from(scene):
    path, found, odd = scene
    features = describe(path, found, embedding=False)
    selector = Selector.fit(features, labelled(found, odd))
    with pytest.raises(OptionError, match="'solidity'"):
        selector.score(features.drop(columns="solidity"))
    with pytest.raises(OptionError, match="nothing is rejected"):
        Selector.fit(features, np.ones(len(features)))
    # Other columns, and the order of columns, have no influence.
    mixed = features[features.columns[::-1]].assign(other=1)
    np.testing.assert_array_equal(selector.score(mixed), selector.score(features))


def test_of_a_whole_and_its_parts_the_best_stays():
    whole, left, right, beside = (0, 0, 10, 10), (0, 0, 5, 10), (5, 0, 10, 10), (10, 0, 20, 10)
    objects = squares(whole, left, right, beside, score=[0.9, 0.8, 0.7, 0.6])
    assert list(keep_best(objects).index) == [0, 3]
    assert list(keep_best(objects.assign(score=[0.75, 0.8, 0.7, 0.6])).index) == [1, 2, 3]
    assert list(keep_best(objects, max_overlap=1).index) == [0, 1, 2, 3]
    assert list(keep_best(objects.assign(score=[np.nan, 0.8, 0.8, np.nan])).index) == [1, 2]
    assert keep_best(objects).attrs["samgeo"]["keep_best"]["dropped"] == 2


def test_what_is_kept_never_overlaps_more_than_allowed():
    rng = np.random.default_rng(1)
    low = rng.uniform(0, 60, (200, 2))
    objects = squares(*np.concatenate([low, low + rng.uniform(2, 20, (200, 2))], axis=1), score=rng.uniform(size=200))
    for limit in (0.0, 0.3, 0.8):
        kept = keep_best(objects, max_overlap=limit)
        assert overlaps(kept.geometry.to_numpy(), kept.geometry.to_numpy(), limit).sum() == len(kept)
        gone = objects.drop(kept.index)
        blocked = overlaps(gone.geometry.to_numpy(), kept.geometry.to_numpy(), limit)
        better = gone.score.to_numpy()[:, None] < kept.score.to_numpy()
        assert (blocked & better).any(axis=1).all()


def overlaps(a, b, limit):
    shared = shapely.area(shapely.intersection(a[:, None], b[None]))
    return shared > limit * np.minimum(shapely.area(a)[:, None], shapely.area(b))


def test_shapes_are_measured_in_metres_in_any_crs():
    disk = shapely.Point(300_000, 3_000_000).buffer(20, quad_segs=64)
    bent = shapely.Polygon([(0, 0), (20, 0), (20, 10), (10, 10), (10, 20), (0, 20)])
    objects = gpd.GeoDataFrame(
        geometry=[
            disk,
            shapely.box(0, 0, 20, 5),
            shapely.affinity.rotate(shapely.box(0, 0, 20, 5), 30),
            bent,
            shapely.Point(0, 0),
        ],
        crs=CRS,
    )
    objects.geometry = [disk, *objects.geometry.iloc[1:].translate(300_000, 3_000_000)]
    for crs in (CRS, 4326, 3857):
        found = measure_shapes(objects.to_crs(crs)).to_numpy()
        wanted = [
            [np.pi * 400, 1, np.pi / 4, 1, 1],
            [100, 4 * np.pi * 100 / 2500, 1, 1, 4],
            [100, 4 * np.pi * 100 / 2500, 1, 1, 4],
            [300, 4 * np.pi * 300 / 6400, 0.75, 300 / 350, 1],
        ]
        # The scale of UTM is 0.9996 at its central meridian, and grows with the distance from it.
        np.testing.assert_allclose(found[:4], wanted, rtol=3e-3)
        assert np.isnan(found[4]).all()


def test_filters_keep_what_passes_all_limits_and_count_the_rest():
    objects = squares((0, 0, 10, 10), (0, 0, 40, 1), (0, 0, 1, 1), (0, 0, 100, 100), crs=None)
    kept = filter_by_shape(objects, min_area_m2=10, max_area_m2=1000, min_compactness=0.5, max_elongation=5)
    assert list(kept.index) == [0]
    note = kept.attrs["samgeo"]["filter_by_shape"]
    assert note["dropped"] == {"min_area_m2": 1, "max_area_m2": 1, "min_compactness": 1, "max_elongation": 1}
    assert list(filter_by_shape(objects).index) == [0, 1, 2, 3]
    for wrong in ({"min_solidity": 2}, {"max_elongation": 0.5}, {"min_area_m2": -1}, {"min_area_m2": 5, "max_area_m2": 1}):
        with pytest.raises(OptionError):
            filter_by_shape(objects, **wrong)


def test_the_whole_chain_is_its_steps(scene, tmp_path):
    path, found, odd = scene
    labels = labelled(found, odd)
    examples = found.assign(label=labels).dropna(subset="label")
    output = tmp_path / "footprints.parquet"
    made = samgeo.footprints(path, output, examples=examples, model=Kinds(256), min_area_m2=30)
    steps = filter_by_shape(select(path, found, examples, model=Kinds(256)), min_area_m2=30)
    assert len(made) == len(steps) < odd.sum() or len(made) == odd.sum()
    wanted = samgeo.regularize(steps).reset_index(drop=True)
    pd.testing.assert_frame_equal(pd.DataFrame(made), pd.DataFrame(wanted))
    assert len(gpd.read_parquet(output)) == len(made)
    assert {"select", "filter_by_shape", "options"} <= set(samgeo.geo.vector.reading.read_provenance(output))
    plain = samgeo.footprints(path, examples=examples, candidates=found, model=Kinds(256), min_area_m2=30, regular=False)
    assert list(plain.geometry) == list(steps.geometry)
    with pytest.raises(OptionError, match="dtm needs dsm"):
        samgeo.footprints(path, examples=examples, dtm="dtm.tif")


def test_the_command_writes_footprints_and_says_by_what(scene, tmp_path):
    path, found, _ = scene
    found.to_parquet(tmp_path / "all.parquet")
    labels = np.full(len(found), np.nan)
    order = found.area_m2.to_numpy().argsort()
    labels[order[-8:]], labels[order[:8]] = 1, 0
    examples = pd.concat(
        [found.assign(label=labels).dropna(subset="label")[["label", "geometry"]], squares((0, 0, 1, 1), label=[1])]
    )
    examples.to_file(tmp_path / "examples.gpkg")
    arguments = ["footprints", path, tmp_path / "out.gpkg", "--examples", tmp_path / "examples.gpkg"]
    arguments += ["--candidates", tmp_path / "all.parquet", "--no-regular", "--min-area", 1]
    done = CliRunner().invoke(main, [str(one) for one in arguments])
    assert done.exit_code == 0, done.output
    assert "8 accepted and 8 rejected" in done.output
    assert "1 example without a candidate" in done.output
    out = gpd.read_file(tmp_path / "out.gpkg")
    assert out.area_m2.median() > found.area_m2.median()
    again = CliRunner().invoke(main, [str(one) for one in arguments])
    assert again.exit_code == 1
    assert "exists" in again.output


def test_windows_without_data_say_nothing(tmp_path):
    image = np.zeros((300, 300, 3), dtype=np.uint8)
    image[:, :150] = encode_ids(np.ones((300, 150), dtype=np.int32))
    raster = Raster.open(image, nodata=0)
    objects = gpd.GeoDataFrame(geometry=[shapely.box(10, 10, 60, 60), shapely.box(200, 10, 260, 60)])
    assert isinstance(raster.geobox, GeoBox)
    features = describe(raster, objects, model=Kinds(128))
    assert len(Lattice(raster.shape, 128, 32)) == 9
    assert features.embedding_mean_0[0] == pytest.approx(1)
    assert features.embedding_ring_0[0] == pytest.approx(1)
    assert np.isnan(features.embedding_mean_0[1])
