"""The saved file of an annotation session and its exports."""

import json
import subprocess
import sys
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from map_scene import AREAS, CLASSES, LABELS, POINTS, accept_object, box_of, proposals

import samgeo
from samgeo.errors import OptionError, VectorError
from samgeo.geo.vector.reading import SUFFIXES, read_provenance, read_vectors, write_vectors
from samgeo.map.session import Session, Snapshot
from samgeo.map.state.actions import Accept
from samgeo.map.state.log import read_log
from samgeo.testing import encode_ids
from samgeo.testing.oracle import Oracle


def test_opening_the_saved_file_again_goes_on_with_objects_classes_and_ids(tmp_path: Path, placed: samgeo.Predictor) -> None:
    file = tmp_path / "objects.gpkg"
    session = Session(placed, classes=CLASSES, autosave=file)
    for number in range(3):
        session.add_point(*POINTS[number], crs="pixels")
        session.accept(CLASSES[number % 2])
    session.edit(2, shapely.box(10, 10, 20, 30), crs="pixels")
    session.delete(3)
    session.add_point(*POINTS[4], crs="pixels")
    again = Session(placed, classes=["tree"], autosave=file)
    assert again.state.objects == session.state.objects
    assert (again.state.next_id, again.state.proposals) == (4, ())
    assert again.classes == ("tree", "roof", "road")
    assert [path.name for path in tmp_path.iterdir()] == ["objects.gpkg"]


def test_the_saved_file_follows_every_change_of_the_objects(tmp_path: Path, predictor: samgeo.Predictor) -> None:
    file = tmp_path / "objects.gpkg"
    session = Session(predictor, classes=CLASSES, autosave=file)
    session.add_point(*POINTS[0])
    assert not file.exists()
    session.propose(proposals(3))

    def saved() -> list[tuple[int, str]]:
        frame = read_vectors(file)
        return list(zip(frame["id"].tolist(), frame["class"].tolist(), strict=True))

    session.accept()
    assert saved() == [(2, "roof")]
    session.set_class(2, "road")
    assert saved() == [(2, "road")]
    session.accept_proposals()
    assert saved() == [(2, "road"), (1, "roof")]
    session.undo()
    session.undo()
    assert saved() == [(2, "roof")]
    session.edit(2, shapely.box(0, 0, 3, 3))
    assert read_vectors(file).geometry.area.tolist() == [9]
    session.delete(2)
    assert saved() == []
    again = Session(predictor, autosave=file)
    assert (again.state.objects, again.state.next_id) == ((), 3)


@pytest.mark.parametrize("columns", [["id", "class"], ["id", "class", "predicted_iou", "area_px", "prompt", "edited"]])
def test_a_saved_file_that_another_program_changed_goes_on(
    tmp_path: Path, predictor: samgeo.Predictor, columns: list[str]
) -> None:
    file = tmp_path / "objects.gpkg"
    session = Session(predictor, classes=CLASSES, autosave=file)
    accept_object(session, 0)
    frame = read_vectors(file)[[*columns, "geometry"]].astype({"id": float})
    drawn = gpd.GeoDataFrame({"id": [np.nan], "class": ["pond"]}, geometry=[shapely.box(1, 1, 5, 5)])
    write_vectors(gpd.pd.concat([frame, drawn], ignore_index=True), file, overwrite=True)
    again = Session(predictor, classes=CLASSES, autosave=file)
    assert again.classes == ("roof", "road", "pond")
    made = "clicks" if "prompt" in columns else "unknown"
    assert [(one.id, one.class_name, one.area, one.prompt, one.edited) for one in again.state.objects] == [
        (1, "roof", AREAS[0], made, False),
        (2, "pond", 16, "unknown", False),
    ]
    assert accept_object(again, 2) == 3


def test_a_file_that_is_not_a_sessions_own_is_refused_and_kept(tmp_path: Path, predictor: samgeo.Predictor) -> None:
    file = tmp_path / "parcels.gpkg"
    write_vectors(proposals(0, 1).drop(columns="class"), file)
    before = file.read_bytes()
    with pytest.raises(VectorError, match="is not a file of annotations, because it has no id and class"):
        Session(predictor, autosave=file)
    assert file.read_bytes() == before
    write_vectors(proposals(0, 1).assign(id=["a", "b"], **{"class": "roof"}), file, overwrite=True)
    with pytest.raises(VectorError, match="ids that are not numbers"):
        Session(predictor, autosave=file)
    write_vectors(proposals(0, 1).assign(id=[1, 1], **{"class": "roof"}), file, overwrite=True)
    with pytest.raises(VectorError, match="the id 1 more than once"):
        Session(predictor, autosave=file)
    with pytest.raises(VectorError, match=r"ends in \.gpkg"):
        Session(predictor, autosave=tmp_path / "objects.geojson")
    with pytest.raises(VectorError, match="does not exist; create it first"):
        Session(predictor, autosave=tmp_path / "nowhere" / "objects.gpkg")


def test_files_of_another_raster_or_model_are_refused_with_the_difference(tmp_path: Path, predictor: samgeo.Predictor) -> None:
    log, file = tmp_path / "session.jsonl", tmp_path / "objects.gpkg"
    accept_object(Session(predictor, log=log, autosave=file), 0)
    elsewhere = np.roll(LABELS, 7, axis=0)
    other_model = Oracle(128)
    other_model.digest = "0123"
    for other, message in (
        (samgeo.Predictor(encode_ids(LABELS[:150]), model=Oracle(128)), r"grid shape is \[150, 220\], and was \[180, 220\]"),
        (samgeo.Predictor(encode_ids(elsewhere), model=Oracle(128)), "pixels digest is"),
        (samgeo.Predictor(encode_ids(LABELS), model=Oracle(64)), "model input_size is 64, and was 128"),
        (samgeo.Predictor(encode_ids(LABELS), model=other_model), "model digest is 0123, and was"),
        (samgeo.Predictor(encode_ids(LABELS), model=Oracle(128), overlap=16), "lattice overlap is 16, and was 32"),
    ):
        with pytest.raises(OptionError, match=message):
            Session.replay(log, other)
    for files in ({"log": log}, {"autosave": file}):
        with pytest.raises(OptionError, match="pixels digest is"):
            Session(samgeo.Predictor(encode_ids(elsewhere), model=Oracle(128)), **files)
    with_other_model = Session(samgeo.Predictor(encode_ids(LABELS), model=other_model), log=log, autosave=file)
    assert len(with_other_model.state.objects) == 1


def test_an_action_that_was_logged_but_not_saved_when_the_session_died_is_not_lost(
    tmp_path: Path, predictor: samgeo.Predictor
) -> None:
    log, file = tmp_path / "session.jsonl", tmp_path / "objects.gpkg"
    session = Session(predictor, classes=CLASSES, log=log, autosave=file)
    accept_object(session, 0)
    saved = file.read_bytes()
    accept_object(session, 1)
    file.write_bytes(saved)
    again = Session(predictor, classes=CLASSES, log=log, autosave=file)
    assert again.state == session.state
    assert read_vectors(file)["id"].tolist() == [1, 2]
    accept_object(again, 2)
    file.write_bytes(saved)  # The file that the first session saved, and a log whose last session went on from another.
    assert [one.id for one in Session(predictor, log=log, autosave=file).state.objects] == [1]


def test_a_file_that_cannot_be_saved_is_said_and_saved_with_the_next_action(
    tmp_path: Path, predictor: samgeo.Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "objects.gpkg"
    session = Session(predictor, classes=CLASSES, autosave=file)
    told: list[Snapshot] = []
    session.subscribe(told.append)
    session.add_point(*POINTS[0])
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", _no_space)
        with pytest.raises(VectorError, match="No space left"):
            session.accept()
    assert len(session.state.objects) == len(told[-1].state.objects) == 1
    assert not file.exists()
    session.add_point(*POINTS[1])
    assert len(read_vectors(file)) == 1


def _no_space(*_: object) -> None:
    raise OSError(28, "No space left on device")


KILLED = """
import sys
import numpy as np
import samgeo
from samgeo.map.session import Session
from samgeo.testing.oracle import Oracle

predictor = samgeo.Predictor(np.load(sys.argv[1]), model=Oracle(128))
session = Session(predictor, log=sys.argv[2], autosave=sys.argv[3], on_overlap="keep")
points = [tuple(float(value) for value in place.split(",")) for place in sys.argv[4:]]
while True:
    for place in points:
        session.add_point(*place)
        session.accept()
        sys.stdout.write("accepted\\n")
        sys.stdout.flush()
    for one in session.state.objects[::2]:
        session.delete(one.id)
"""


def test_killed_at_any_moment_a_session_goes_on_with_all_that_it_had_told(tmp_path: Path, predictor: samgeo.Predictor) -> None:
    np.save(tmp_path / "ids.npy", encode_ids(LABELS))
    log, file = tmp_path / "session.jsonl", tmp_path / "objects.gpkg"
    places = [f"{x},{y}" for x, y in POINTS]
    command = [sys.executable, "-c", KILLED, str(tmp_path / "ids.npy"), str(log), str(file), *places]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)  # noqa: S603 - our own interpreter
    with process:
        for _ in range(25):
            assert process.stdout is not None
            assert process.stdout.readline() == b"accepted\n"
        process.kill()
    accepted = sum(isinstance(action, Accept) for _, action in read_log(log).actions)
    assert accepted >= 25
    logged = Session.replay(log, predictor).state
    assert Session(predictor, log=log, autosave=file).state.objects == logged.objects
    assert read_vectors(file)["id"].tolist() == [one.id for one in logged.objects]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_objects_are_exported_to_every_vector_format(tmp_path: Path, placed: samgeo.Predictor, suffix: str) -> None:
    session = Session(placed, classes=CLASSES)
    for number in range(3):
        session.add_point(*POINTS[number], crs="pixels")
        session.accept(CLASSES[number % 2])
    session.edit(3, shapely.box(10, 10, 20, 30), crs="pixels")
    path = tmp_path / f"objects{suffix}"
    session.export(path)
    frame = read_vectors(path).sort_values("id", ignore_index=True)
    assert frame["class"].tolist() == ["roof", "road", "roof"]
    assert frame["edited"].tolist() == [False, False, True]
    assert frame["predicted_iou"].isna().tolist() == [False, False, True]
    assert frame.crs == "EPSG:32633"
    assert frame.geometry.geom_equals(gpd.GeoSeries([one.geometry for one in session.state.objects], crs=frame.crs)).all()
    made = read_provenance(path)
    assert made is not None
    assert made["model"]["name"] == "oracle"
    assert made["annotation"]["session"] == session.id
    with pytest.raises(VectorError, match="exists; choose another name"):
        session.export(path)


def test_coco_has_the_pixels_of_the_objects_holes_and_parts_too(tmp_path: Path, placed: samgeo.Predictor) -> None:
    from PIL import Image, ImageDraw

    session = Session(placed, classes=CLASSES)
    for number in range(2):
        session.add_point(*POINTS[number], crs="pixels")
        session.accept(CLASSES[1 - number])
    holes = shapely.box(20, 30, 60, 70) - shapely.box(25, 35, 31, 50) - shapely.box(40, 40, 51, 60)
    session.edit(2, shapely.union_all([holes, shapely.box(80, 80, 90, 85)]), crs="pixels")
    path = tmp_path / "objects.json"
    session.export_coco(path)
    coco = json.loads(path.read_text())
    assert coco["images"] == [{"id": 1, "file_name": "ids.tif", "width": 220, "height": 180}]
    assert coco["categories"] == [{"id": 1, "name": "roof"}, {"id": 2, "name": "road"}]
    assert "info" in coco  # for COCO.loadRes of pycocotools
    first, second = coco["annotations"]
    x0, y0, x1, y1 = box_of(0)
    assert (first["id"], first["category_id"], first["image_id"], first["iscrowd"]) == (1, 2, 1, 0)
    assert first["bbox"] == [x0, y0, x1 - x0, y1 - y0]
    assert first["area"] == AREAS[0]
    assert (first["predicted_iou"], first["stability_score"]) == (1.0, 1.0)
    assert (second["area"], second["bbox"]) == (40 * 40 - 6 * 15 - 11 * 20 + 50, [20, 30, 70, 55])
    assert "predicted_iou" not in second
    parts = [shapely.Polygon(np.reshape(ring, (-1, 2))) for ring in second["segmentation"]]
    assert sum(part.area for part in parts) == second["area"]
    assert shapely.union_all(parts).equals(shapely.union_all([holes, shapely.box(80, 80, 90, 85)]))
    # Drawn as COCO's readers do, by the centres of pixels.
    image = Image.new("L", (220, 180))
    for ring in first["segmentation"]:
        ImageDraw.Draw(image).polygon([value - 0.5 for value in ring], fill=1)
    assert abs(int(np.asarray(image).sum()) - AREAS[0]) < 60
    with pytest.raises(VectorError, match=r"ends in \.json"):
        session.export_coco(tmp_path / "objects.geojson")
    with pytest.raises(VectorError, match="exists"):
        session.export_coco(path)


def test_a_session_without_objects_can_be_exported(tmp_path: Path, session: Session) -> None:
    session.export(tmp_path / "none.gpkg")
    assert len(read_vectors(tmp_path / "none.gpkg")) == 0
    session.export_coco(tmp_path / "none.json")
    assert json.loads((tmp_path / "none.json").read_text())["annotations"] == []
