"""A session trains its model on its accepted objects, uses the new weights if they are better, and returns to the old ones."""

from __future__ import annotations

import threading
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
import torch
from map_driving import is_error, press, status

import samgeo
from samgeo.errors import CheckpointError, OptionError, StoppedError
from samgeo.map import Map, Session
from samgeo.map.train_on_accepted import free_path, progress_of, verdict
from samgeo.models.tiny import load_tiny, save_tiny
from samgeo.models.tiny.network import TinyConfig, TinyNetwork
from samgeo.testing import Oracle, encode_ids
from samgeo.training.finetuning import api
from samgeo.training.loop import TrainOptions
from samgeo.training.recipe_run import log_line

SIDE, CELL = 192, 24


@pytest.fixture(scope="module")
def place() -> tuple[np.ndarray, list[shapely.Geometry]]:
    """Bright rectangles of many sizes on dark ground, one in each cell of an 8 x 8 lattice."""
    rng = np.random.default_rng(0)
    image = rng.integers(20, 60, (SIDE, SIDE, 3)).astype(np.uint8)
    boxes = []
    for number in range((SIDE // CELL) ** 2):
        top, left = ((one * CELL) + 4 for one in divmod(number, SIDE // CELL))
        height, width = (int(one) for one in rng.integers(8, 17, 2))
        image[top : top + height, left : left + width] = rng.integers(150, 250, 3)
        boxes.append(shapely.box(left, top, left + width, top + height))
    return image, boxes


def with_objects(predictor: samgeo.Predictor, boxes: list[shapely.Geometry], **options: object) -> Session:
    session = Session(predictor, **options)
    session.propose(gpd.GeoDataFrame(geometry=boxes))
    session.accept_proposals()
    return session


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of a small network of the bundled architecture."""
    torch.manual_seed(0)
    config = TinyConfig(
        channels=(16, 8, 8), similarity=(4, 4, 4), maps=(4, 8), heads=2, depth=1, hidden=16, quality=8, input_size=64
    )
    network = TinyNetwork(config)
    network.prompts.frequencies.normal_()
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_tiny(network.state_dict(), config, path)
    return path


@pytest.fixture
def accepts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the gate accept every training, which the gate's own tests cover."""
    decide = api.decide
    monkeypatch.setattr(api, "decide", lambda *given: decide(*given).__class__(True, "better", decide(*given).gains))


QUICK = {"minutes": None, "steps": 1, "rate": 1e-2, "check_shift": False}


@pytest.mark.slow
def test_a_damaged_model_is_repaired_by_what_is_accepted(place, tmp_path, monkeypatch) -> None:
    image, boxes = place
    monkeypatch.setattr(api, "CROP_PX", 96)
    network = load_tiny(device="cpu").network
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in network.upscaler.parameters():
            parameter.add_(0.6 * parameter.std(correction=0) * torch.randn_like(parameter))
    save_tiny(network.state_dict(), network.config, tmp_path / "damaged.safetensors")
    predictor = samgeo.Predictor(image, model=tmp_path / "damaged.safetensors", threads=1, device="cpu")
    session = with_objects(predictor, boxes)
    session.add_point(10, 10, crs="pixels")
    before = session.state.candidate
    done = session.train_on_accepted(tmp_path / "new.safetensors", minutes=None, steps=16, rate=2e-3)
    assert done.accepted, done.reason
    assert done.gains["box"].low > 0.03
    assert session.predictor.model.digest == done.digest
    assert verdict(done).startswith("training accepted: on ")
    after = session.state.candidate

    def iou(one: shapely.Geometry) -> float:
        return shapely.area(one & boxes[0]) / shapely.area(one | boxes[0])

    assert iou(after.geometry) > iou(before.geometry)


def test_accepted_weights_answer_the_next_prompts_until_undo(place, small, tmp_path, accepts) -> None:
    image, boxes = place
    predictor = samgeo.Predictor(image, model=small, threads=1, device="cpu", min_part=0, min_hole=0)
    session = with_objects(predictor, boxes, autosave=tmp_path / "town.gpkg", log=tmp_path / "log.jsonl")
    session.set_box(*boxes[0].bounds, crs="pixels")
    before = session.state
    lines: list[str] = []

    def progress(line: str) -> bool:
        lines.append(line)
        return True

    done = session.train_on_accepted(progress=progress, **QUICK)
    assert done.output == tmp_path / "town-trained-1.safetensors"
    names = ["town-trained-1.run", "town-trained-1.safetensors", "town.gpkg"]
    assert sorted(path.name for path in tmp_path.glob("town*")) == names
    assert any(line.startswith("step 1 of 1") for line in lines)
    # The open prompt is asked again, and objects that are made now have the new model.
    start, trained = predictor.model, session.predictor.model
    assert trained.digest == samgeo.load_model(done.output).digest == done.digest != start.digest
    assert session.state.prompt == before.prompt
    assert session.state.answer != before.answer
    made = f"tiny {trained.digest[:16]}"
    session.accept()
    session.set_box(*boxes[1].bounds, crs="pixels")
    session.accept()
    session.propose(session.predictor.predict(boxes=[boxes[2].bounds], crs="pixels"))
    session.accept_proposals()
    table = session.to_frame()
    assert table["model"].tolist()[-3:] == [made] * 3
    assert table["model"][:-3].isna().all()
    assert table.attrs["samgeo"]["model"]["digest"] == trained.digest
    assert gpd.read_file(tmp_path / "town.gpkg")["model"].tolist()[-3:] == [made] * 3
    assert [one.model for one in Session(predictor, autosave=tmp_path / "town.gpkg").state.objects][-3:] == [made] * 3
    # A log is replayed with the weights that it names.
    assert Session.replay(tmp_path / "log.jsonl", predictor).state == session.state
    for _ in range(6):
        session.undo()
    assert session.state == before
    assert session.predictor is predictor
    session.redo()
    assert session.predictor.model.digest == trained.digest
    with pytest.raises(OptionError, match="exists"):
        session.train_on_accepted(done.output)
    assert free_path(None, session.autosave) == tmp_path / "town-trained-2.safetensors"
    session.undo()
    save_tiny(load_tiny(small).network.state_dict(), load_tiny(small).network.config, done.output, overwrite=True)
    with pytest.raises(OptionError, match="has changed since the session used it"):
        Session.replay(tmp_path / "log.jsonl", predictor)


def test_refused_weights_change_nothing(place, small, tmp_path) -> None:
    image, boxes = place
    session = with_objects(samgeo.Predictor(image, model=small, threads=1, device="cpu"), boxes)
    before = session.snapshot
    output = tmp_path / "new.safetensors"
    done = session.train_on_accepted(output, **QUICK | {"rate": 1e-9})
    assert not done.accepted
    assert verdict(done).startswith("training refused, so that the model stays as it is: on ")
    assert session.snapshot == before
    assert not output.exists()
    assert done.output == tmp_path / "new.run" / "new.safetensors"
    assert samgeo.load_model(done.output).digest == samgeo.load_model(small).digest
    assert done.page.exists()


def test_what_cannot_work_is_said_before_the_work(place, small, tmp_path) -> None:
    image, boxes = place
    predictor = samgeo.Predictor(image, model=small, device="cpu")
    session = with_objects(predictor, boxes[:7])
    with pytest.raises(OptionError, match="there are 7; accept 13 more"):
        session.train_on_accepted(tmp_path / "new.safetensors")
    full = with_objects(predictor, boxes)
    with pytest.raises(OptionError, match="give an output"):
        full.train_on_accepted()
    with pytest.raises(OptionError, match=r"does not end in \.safetensors"):
        full.train_on_accepted(tmp_path / "new.pth")
    oracle = with_objects(samgeo.Predictor(encode_ids(np.ones((64, 64), np.int32)), model=Oracle(64)), [])
    with pytest.raises(OptionError, match="oracle, which cannot be trained"):
        oracle.train_on_accepted(tmp_path / "new.safetensors")
    with pytest.raises(CheckpointError, match="64 pixels"):
        Session(samgeo.Predictor(image, device="cpu")).use_model(small)
    with pytest.raises(OptionError):  # objects of which too few are large enough
        with_objects(predictor, [shapely.box(x, 0, x + 2, 2) for x in range(0, 60, 3)]).train_on_accepted(
            tmp_path / "new.safetensors"
        )
    assert list(tmp_path.iterdir()) == []


def test_a_training_that_is_stopped_leaves_nothing(place, small, tmp_path) -> None:
    image, boxes = place
    session = with_objects(samgeo.Predictor(image, model=small, threads=1, device="cpu"), boxes)
    before = session.snapshot
    with pytest.raises(StoppedError, match="the same as before"):
        session.train_on_accepted(
            tmp_path / "new.safetensors",
            minutes=None,
            steps=10,
            check_shift=False,
            progress=lambda line: not line.startswith("step"),
        )
    assert session.snapshot == before
    assert list(tmp_path.iterdir()) == []


def test_the_map_trains_in_the_background(place, small, tmp_path, monkeypatch, accepts) -> None:
    image, boxes = place
    monkeypatch.chdir(tmp_path)
    m = Map(image, small, device="cpu")
    press(m, "train")
    assert m.wait(60)
    assert "there are 0; accept 20 more" in status(m)
    assert is_error(m)
    m.add(gpd.GeoDataFrame(geometry=boxes))
    press(m, "accept-all")
    entered, go_on = threading.Event(), threading.Event()
    train = api.train_locked

    def slow(*arguments, **options):
        entered.set()
        assert go_on.wait(60)
        return train(*arguments, **options)

    monkeypatch.setattr(api, "train_locked", slow)
    monkeypatch.setattr(api, "LOG_STEPS", 1)
    monkeypatch.setattr(api, "find_shift", lambda *_: None)
    m.train_on_accepted(minutes=0.02)
    assert entered.wait(60)
    assert m.drawing.panel.buttons["train"].disabled
    # The map is used meanwhile, and the objects of the training are those of its start.
    m.session.delete(1)
    m.session.undo()
    press(m, "stop-training")
    go_on.set()
    assert m.wait(60)
    assert status(m).startswith("training was stopped")
    assert m.session.state.weights is None
    m.train_on_accepted(minutes=0.001)
    assert m.wait(60)
    assert status(m) == "training accepted: better; the next prompts are answered by objects-trained-1.safetensors"
    assert (tmp_path / "objects-trained-1.safetensors").exists()
    assert m.session.state.weights is not None
    press(m, "undo")
    assert m.session.state.weights is None
    m.close()


def test_lines_of_the_training_are_shortened() -> None:
    line = {"step": 1200, "rate": 1e-4, "loss": 0.5, "minutes": 0.24}
    assert progress_of(log_line(line, TrainOptions(5000, minutes=5))) == "step 1,200, 0.2 of 5 minutes"
    del line["minutes"]
    assert progress_of(log_line(line, TrainOptions(5000))) == "step 1,200 of 5,000"
    assert progress_of("31 outlines to train on") == "31 outlines to train on"
