"""The map as a whole: files, options, threads, errors and how Jupyter shows it."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import shapely
from IPython.core.formatters import DisplayFormatter
from map_driving import Mouse, accept, css_classes, found, is_error, key, press, status
from map_scene import AREAS, POINTS

from samgeo.errors import OptionError, SamgeoError, VectorError
from samgeo.geo.vector.reading import read_vectors
from samgeo.map.widget import Map
from samgeo.testing.oracle import Oracle


@pytest.mark.parametrize("name", ["out.gpkg", "out.parquet", "out.fgb", "out.geojson"])
def test_export_to_every_vector_format(make, name: str) -> None:
    m = make()
    accept(m, 0)
    accept(m, 1)
    m.drawing.panel.path.value = name
    press(m, "export")
    assert status(m) == f"wrote 2 objects to {name}"
    written = read_vectors(name).sort_values("id")  # FlatGeobuf has an order of its own
    parts = written.geometry.explode(ignore_index=True).to_numpy()  # files have multipolygons
    assert shapely.equals_exact(parts, m.accepted.geometry.to_numpy(), tolerance=1e-6).all()
    assert written["class"].tolist() == ["roof", "roof"]


def test_export_to_coco(make) -> None:
    m = make()
    accept(m, 0)
    m.export("coco.json")
    coco = json.loads(Path("coco.json").read_text())
    assert coco["annotations"][0]["area"] == AREAS[0]


def test_export_replaces_only_what_it_may(make) -> None:
    m = make()
    accept(m, 0)
    Path("theirs.geojson").write_text("theirs")
    m.drawing.panel.path.value = "theirs.geojson"
    press(m, "export")
    assert is_error(m)
    assert "exists" in status(m)
    assert Path("theirs.geojson").read_text() == "theirs"
    m.drawing.panel.overwrite.value = True
    press(m, "export")
    assert len(read_vectors("theirs.geojson")) == 1
    m.drawing.panel.overwrite.value = False
    accept(m, 1)
    press(m, "export")
    assert len(read_vectors("theirs.geojson")) == 2
    with pytest.raises(VectorError, match="exists"):
        m.export("theirs.geojson")


def test_it_saves_itself_and_goes_on_where_it_was(make) -> None:
    first = make(autosave="saved.gpkg", log="actions.jsonl")
    accept(first, 0)
    press(first, "class-1")
    accept(first, 3)
    assert len(read_vectors("saved.gpkg")) == 2
    again = make(autosave="saved.gpkg", log="actions.jsonl")
    assert [one["properties"]["id"] for one in again.drawing.objects.features] == [1, 2]
    assert again.drawing.panel.table.rows(0, 9) == first.drawing.panel.table.rows(0, 9)
    assert status(again) == "2 accepted"
    accept(again, 5)
    assert read_vectors("saved.gpkg")["id"].tolist() == [1, 2, 3]


def test_the_model_computes_in_the_threads_that_are_asked_for(make) -> None:
    import torch

    seen: set[tuple[str, int]] = set()

    class Counting(Oracle):
        def embed(self, images, sizes=None):
            seen.add(("embed", torch.get_num_threads()))
            return super().embed(images, sizes)

        def decode(self, embedding, **prompts):
            seen.add(("decode", torch.get_num_threads()))
            return super().decode(embedding, **prompts)

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for options, threads in (({}, 1), ({"threads": 3}, 3), ({"threads": None}, 2)):
            seen.clear()
            m = make(model=Counting(128), **options)
            Mouse(m).click(POINTS[0])
            assert seen == {("embed", threads), ("decode", threads)}
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    for nonsense in (0, -2, 1.5, "2", True):
        with pytest.raises(OptionError, match="threads is"):
            make(threads=nonsense)


def test_a_failure_is_shown_and_not_swallowed(make, monkeypatch: pytest.MonkeyPatch) -> None:
    m = make()

    def fail(*_, **__):
        raise ZeroDivisionError("by nought")

    monkeypatch.setattr(m.session, "undo", fail)
    accept(m, 0)
    press(m, "undo")
    assert status(m) == "ZeroDivisionError: by nought"
    assert is_error(m)
    with pytest.raises(ZeroDivisionError):
        m.drawing.guarded(m.session.undo)


def test_what_acts_on_the_session_from_any_thread_is_drawn(make) -> None:
    m = make()
    mouse = Mouse(m)

    def work(number: int) -> None:
        m.session.propose(found(m, number))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    mouse.click(POINTS[8])
    key(m, "a")
    mouse.click(POINTS[9])
    for thread in threads:
        thread.join()
    assert len(m.drawing.proposals.features) == 8
    assert len(m.drawing.objects.features) == 1
    assert len(m.drawing.sketch.preview) == 1


def test_a_closed_map_leaves_its_session(make) -> None:
    m = make()
    accept(m, 0)
    m.close()
    m.session.undo()
    assert len(m.drawing.objects.features) == 1


def test_jupyter_shows_it(make) -> None:
    m = make()
    data, _ = DisplayFormatter().format(m)
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == m.widget.model_id
    assert "samgeo-map" in css_classes(m.widget)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("height", value) for value in (0, 100, 10**6, "600px", 600.5, None, True)),
        *(("classes", value) for value in (5, [], [1, 2], ["roof", ""], ["roof", "roof"], {"roof": "red"})),
        *(("autosave", value) for value in (5, "", "objects.geojson", b"objects.json", "nowhere/objects.gpkg", ["a.gpkg"])),
        *(("log", value) for value in (5, "", "nowhere/log.jsonl", ".")),
        *(("cache", value) for value in (5, "")),
        *(("basemap", value) for value in ("OSM", 5)),
        *(("tiles", value) for value in (5, "server")),
        *(("threads", value) for value in ("2", 0, 1.5)),
    ],
)
def test_an_option_that_cannot_work_is_refused_before_any_work(make, name: str, value, tmp_path: Path) -> None:
    with pytest.raises(SamgeoError) as refused:
        make(**{name: value})
    assert name in str(refused.value) or str(value) in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_what_another_program_does_to_the_saved_file_is_drawn_and_said(make, tmp_path: Path) -> None:
    m = make(autosave=tmp_path / "city.gpkg")
    accept(m, 0)
    accept(m, 1)
    frame = read_vectors(tmp_path / "city.gpkg").assign(**{"class": ["pond", "roof"]})
    frame.to_file(tmp_path / "city.gpkg", layer="city", driver="GPKG")
    accept(m, 2)
    assert "the saved file was changed elsewhere: 1 changed" in status(m)
    assert m.drawing.panel.table.rows(2, 1)[0]["class"] == "pond"
    press(m, "class-3")
    accept(m, 3)
    assert [one.class_name for one in m.session.state.objects] == ["pond", "roof", "roof", "pond"]
    assert len({one["properties"]["style"]["fillColor"] for one in m.drawing.objects.features}) == 2


def test_without_the_extra_it_says_what_to_install(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ipyleaflet", "anywidget"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, name, None)
            with pytest.raises(SamgeoError, match=r"pip install 'samgeo\[map\]'"):
                Map(image, Oracle(128))


def test_the_name_is_there_without_its_libraries() -> None:
    code = "import samgeo, sys; samgeo.Map; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()  # noqa: S603
    assert {"ipyleaflet", "ipywidgets", "anywidget"}.isdisjoint(loaded)
