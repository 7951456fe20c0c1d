"""Training of finders: targets, losses, the bank, and whole runs with a network of a few thousand parameters."""

import json

import numpy as np
import pytest
import torch
from learn_scenes import squares
from safetensors import safe_open
from safetensors.torch import save_file

from samgeo.errors import CheckpointError, ModelError, OptionError
from samgeo.finding.finder import FinderInfo, load_finder, save_finder
from samgeo.finding.head import FinderHead, HeadConfig, Maps
from samgeo.finding.scoring import Scorer
from samgeo.models.tiny import load_tiny, save_tiny
from samgeo.synthetic import town
from samgeo.training.data.examples import Layer, Source
from samgeo.training.data.pictures import Picture
from samgeo.training.finder.bank import make_bank
from samgeo.training.finder.crops import draw_crop
from samgeo.training.finder.head_fit import finished_head, fit_head
from samgeo.training.finder.options import FinderTraining
from samgeo.training.finder.run import head_config
from samgeo.training.finder.scorer_fit import Answered, _once, best_threshold, fit_scorer
from samgeo.training.finder.targets import Targets, draw_targets, head_loss
from samgeo.training.recipe import load_recipe
from samgeo.training.recipe_run import run_recipe

FINDER = """
start = "start.safetensors"
[finder]
classes = ["building"]
crops = 16
steps = 60
rate = 2e-2
scored = 8
[[source]]
images = "town*.tif"
vectors = "{stem}.geojson"
scales = [0.8, 1.2]
"""


@pytest.fixture
def model(small_network, tmp_path):
    save_tiny(small_network.state_dict(), small_network.config, tmp_path / "start.safetensors")
    return load_tiny(tmp_path / "start.safetensors", device="cpu")


@pytest.fixture
def recipe(model, tmp_path):
    for seed in (3, 4):
        scene = town((96, 96), seed)
        scene.save(tmp_path / f"town{seed}.tif")
        scene.footprints.to_file(tmp_path / f"town{seed}.geojson")
    (tmp_path / "recipe.toml").write_text(FINDER)
    return tmp_path / "recipe.toml"


def disc(x, y, radius, side=128):
    rows, columns = np.mgrid[:side, :side] + 0.5
    return (np.hypot(columns - x, rows - y) < radius).astype(np.uint16)


def targets_of(*layers):
    return Targets.unpack(torch.from_numpy(draw_targets(layers)).float()[None], len(layers))


def test_a_disc_peaks_at_its_centroid_and_tells_its_box():
    targets = targets_of(disc(60, 36, 20))
    heat = targets.heat[0, 0]
    row, column = divmod(int(heat.argmax()), heat.shape[1])
    assert (row, column) == (36 // 8, 60 // 8)
    assert heat[row, column] == 1
    assert int((heat >= 0.999).sum()) == 1
    x, y = (column + 0.5) * 8, (row + 0.5) * 8
    wanted = [(x - 40) / 8, (y - 16) / 8, (80 - x) / 8, (56 - y) / 8]
    assert targets.distances[0, :, row, column].tolist() == pytest.approx(wanted, abs=0.01)
    assert targets.weight[0, row, column] == 1
    assert float(targets.share.sum()) * 64 == pytest.approx(np.pi * 20**2, rel=0.01)
    assert not targets.boundary[0, 0, row, column]
    assert targets.boundary[0, 0, 36 // 8, 40 // 8]


def test_classes_have_their_own_heat_and_share():
    targets = targets_of(disc(30, 30, 12), disc(90, 90, 16))
    peaks = [divmod(int(heat.argmax()), 16) for heat in targets.heat[0]]
    assert peaks == [(3, 3), (11, 11)]
    assert targets.share[0, 0, 11, 11] == targets.share[0, 1, 3, 3] == 0
    assert targets.distances[0, :, 11, 11].min() > 1


def test_objects_too_small_for_a_mask_are_no_centres():
    targets = targets_of(disc(30, 30, 2))
    assert not targets.heat.any()
    assert targets.share.any()


def perfect(targets, shift=0.0):
    """The maps that a head without errors predicts; a shift makes all of them worse."""

    def logits(probability):
        return torch.logit(probability.clamp(1e-4, 1 - 1e-4)) * (1 - shift)

    return Maps(
        logits(targets.heat.where(targets.heat < 0.999, 1.0)),
        targets.distances.clamp(min=0.1) * (1 + shift),
        logits(targets.share),
        logits(targets.boundary),
    )


def test_a_perfect_prediction_has_the_smallest_losses():
    targets = targets_of(disc(60, 36, 20), disc(90, 90, 16))
    _, best = head_loss(perfect(targets), targets)
    _, worse = head_loss(perfect(targets, 0.5), targets)
    assert best["box"] == pytest.approx(0, abs=1e-3)
    assert all(best[name] < worse[name] for name in ("loss", "heat", "box", "share"))


def test_a_crop_has_the_layers_of_its_source_alone():
    picture = squares("a")
    both = Picture("a", picture.image, {"building": picture.layers["building"], "car": picture.layers["building"]})
    source = Source("squares", [both], 1.0, {"building": Layer(1.0)}, (1.0, 1.0))
    crop = draw_crop([source], ("car", "building"), 64, np.random.default_rng(2))
    assert not crop.layers[0].any()
    assert crop.layers[1].any()


def test_a_bank_goes_on_where_it_was_stopped(model, source, tmp_path, monkeypatch):
    monkeypatch.setattr("samgeo.training.finder.bank.SAVE_EVERY", 2)

    def stop(line):
        if line.startswith("encoded 4"):
            raise KeyboardInterrupt

    whole = make_bank(model, [source], ("building",), 7, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        make_bank(model, [source], ("building",), 7, tmp_path / "parts", report=stop)
    told = []
    parts = make_bank(model, [source], ("building",), 7, tmp_path / "parts", report=told.append)
    assert [line.split()[1] for line in told] == ["6", "7"]
    assert len(parts) == 7
    for one, other in zip((*whole.maps, whole.targets), (*parts.maps, parts.targets), strict=True):
        assert np.array_equal(one, other)
    assert all(maps.any((1, 2, 3)).all() for maps in whole.maps)
    (tmp_path / "parts" / "1.npy").write_bytes(b"damaged")
    again = make_bank(model, [source], ("building",), 7, tmp_path / "parts")
    assert np.array_equal(again.maps[1], whole.maps[1])


def test_a_bank_that_does_not_fit_on_the_disk_is_refused(model, source, tmp_path):
    with pytest.raises(OptionError, match=r"need .* GB in"):
        make_bank(model, [source], ("building",), 10**12, tmp_path)


def test_a_head_goes_on_to_the_same_weights_and_the_same_log(model, source, tmp_path, monkeypatch):
    monkeypatch.setattr("samgeo.training.finder.head_fit.LOG_STEPS", 4)
    monkeypatch.setattr("samgeo.training.finder.head_fit.SAVE_S", 0.0)
    bank = make_bank(model, [source], ("building",), 6, tmp_path / "bank")
    options = FinderTraining(classes=("building",), crops=6, steps=10, images=2)
    config = head_config(model, options)

    def stop(line):
        if line.startswith("step 8"):
            raise KeyboardInterrupt

    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    whole = fit_head(bank, config, options, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        fit_head(bank, config, options, tmp_path / "parts", report=stop)
    assert finished_head(config, options, tmp_path / "parts") is None
    parts = fit_head(bank, config, options, tmp_path / "parts")
    done = finished_head(config, options, tmp_path / "parts")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, parts.state_dict()[name]), name
        assert torch.equal(value, done.state_dict()[name]), name
    logs = [(tmp_path / name / "log.jsonl").read_bytes() for name in ("whole", "parts")]
    assert logs[0] == logs[1]
    assert [json.loads(line)["step"] for line in logs[0].splitlines()] == [4, 8, 10]
    with pytest.raises(CheckpointError, match="another head"):
        fit_head(bank, head_config(model, FinderTraining(classes=("a", "b"))), options, tmp_path / "parts")


def test_an_object_is_found_once():
    iou = np.array([0.6, 0.8, 0.3, 0.7], np.float32)
    assert _once(iou, np.array([5, 5, 5, 9])).tolist() == pytest.approx([0, 0.8, 0, 0.7])


def test_the_scorer_learns_what_is_true_and_the_threshold_divides_it(monkeypatch):
    monkeypatch.setattr("samgeo.training.finder.scorer_fit.STEPS", 400)
    rng = np.random.default_rng(0)
    iou = np.where(rng.random(600) < 0.5, 0.8, 0.1).astype(np.float32)
    measures = rng.uniform(0.3, 0.7, (600, 16)).astype(np.float32)
    measures[:, 0] = np.where(iou > 0.5, 0.9, 0.2)
    answered = Answered(measures, iou, np.arange(600), np.zeros(600, int), np.arange(600), {0: int((iou > 0.5).sum())})
    scorer = fit_scorer(answered)
    scores = scorer(torch.from_numpy(measures)).sigmoid().detach().numpy()
    assert scores[iou > 0.5].min() > 0.8
    assert scores[iou < 0.5].max() < 0.2
    least = best_threshold(scores, answered)
    assert scores[iou < 0.5].max() < least <= scores[iou > 0.5].min()
    assert torch.equal(fit_scorer(answered).layers[0].weight, scorer.layers[0].weight)


def test_a_recipe_trains_a_finder_that_is_read_back(recipe, model, tmp_path, monkeypatch):
    monkeypatch.setattr("samgeo.training.finder.scorer_fit.STEPS", 50)
    told = []
    done = run_recipe(recipe, tmp_path / "f.safetensors", device="cpu", report=told.append)
    assert (done.steps, done.output) == (60, tmp_path / "f.safetensors")
    assert any(line.startswith("encoded 16 of 16") for line in told)
    assert any(line.startswith("step 60 of 60: loss") for line in told)
    finder = load_finder(tmp_path / "f.safetensors")
    finder.check(model)
    assert finder.classes == ("building",)
    assert finder.info.encoder == model.digest
    assert not (done.folder / "bank").exists()
    losses = [json.loads(line)["loss"] for line in (done.folder / "log.jsonl").read_text().splitlines()]
    assert losses[-1] < losses[0]


def test_a_finder_stopped_many_times_becomes_the_same_file(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr("samgeo.training.finder.scorer_fit.STEPS", 50)
    monkeypatch.setattr("samgeo.training.finder.head_fit.LOG_STEPS", 20)
    monkeypatch.setattr("samgeo.training.finder.bank.SAVE_EVERY", 8)
    whole = run_recipe(recipe, tmp_path / "whole.safetensors", device="cpu")
    for last in ("encoded 8", "step 40", "asked in", "best threshold"):

        def stop(line, last=last):
            if line.startswith(last):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run_recipe(recipe, tmp_path / "parts.safetensors", device="cpu", report=stop)
        assert not (tmp_path / "parts.safetensors").exists()
    told = []
    parts = run_recipe(recipe, tmp_path / "parts.safetensors", device="cpu", report=told.append)
    assert not any(line.startswith(("encoded", "step")) for line in told)
    assert parts.digest == whole.digest
    assert (parts.folder / "log.jsonl").read_bytes() == (whole.folder / "log.jsonl").read_bytes()


def small_finder(path):
    head = FinderHead(HeadConfig((16, 8, 4), (16, 8, 8)))
    info = FinderInfo(("building",), "a" * 64, ((1e6, 1.0),), 0.5)
    return save_finder(path, head, Scorer((0, 1)), info), head


def test_a_finder_of_another_encoder_is_refused(model, tmp_path):
    small_finder(tmp_path / "f.safetensors")
    with pytest.raises(ModelError, match="has digest"):
        load_finder(tmp_path / "f.safetensors").check(model)


def test_the_same_finder_is_the_same_file_and_reads_back(tmp_path):
    torch.manual_seed(0)
    digest, head = small_finder(tmp_path / "a.safetensors")
    torch.manual_seed(0)
    again, _ = small_finder(tmp_path / "b.safetensors")
    assert digest == again
    found = load_finder(tmp_path / "a.safetensors")
    for name, value in head.state_dict().items():
        assert torch.equal(value.half().float(), found.head.state_dict()[name]), name


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda tensors, said: tensors.pop("head.enter.weight"), "damaged"),
        (lambda tensors, said: tensors["scorer.layers.0.bias"].fill_(torch.nan), "not finite"),
        (lambda tensors, said: said.update(architecture="samgeo-tiny"), "not a finder"),
        (lambda tensors, said: said.pop("info"), "damaged"),
        (lambda tensors, said: said.update(head="{}"), "damaged"),
    ],
    ids=["missing tensor", "nan", "architecture", "no info", "no sizes"],
)
def test_a_damaged_finder_is_refused(tmp_path, damage, message):
    small_finder(tmp_path / "f.safetensors")
    with safe_open(tmp_path / "f.safetensors", framework="pt") as opened:
        said = dict(opened.metadata())
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    damage(tensors, said)
    save_file(tensors, tmp_path / "f.safetensors", said)
    with pytest.raises(CheckpointError, match=message):
        load_finder(tmp_path / "f.safetensors")


def test_a_truncated_finder_and_weights_that_are_not_finite_are_refused(tmp_path):
    path = tmp_path / "f.safetensors"
    _, head = small_finder(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_finder(path)
    head.enter.bias.data[0] = 1e6
    info = FinderInfo(("building",), "a" * 64, ((1e6, 1.0),), 0.5)
    with pytest.raises(CheckpointError, match="not finite"):
        save_finder(tmp_path / "other.safetensors", head, Scorer((0, 1)), info)
    assert not (tmp_path / "other.safetensors").exists()


def test_a_run_goes_on_with_the_same_options_alone(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr("samgeo.training.finder.scorer_fit.STEPS", 10)
    output = tmp_path / "f.safetensors"
    run_recipe(recipe, output, device="cpu")
    with pytest.raises(OptionError, match=r"finder.steps was 60 and is now 61"):
        run_recipe(recipe, output, device="cpu", steps=61, overwrite=True)
    with pytest.raises(OptionError, match="leave minutes and network out"):
        run_recipe(recipe, output, device="cpu", minutes=1, overwrite=True)
    recipe.write_text(recipe.read_text().replace("[finder]", "[finder]\nmin_score = 0.25\nzooms = [[0.5, 1], [1e6, 2]]"))
    run_recipe(recipe, output, device="cpu", overwrite=True)
    info = load_finder(output).info
    assert (info.min_score, info.zoom(0.4), info.zoom(3)) == (0.25, 1.0, 2.0)


SOURCE = "[[source]]\nscenes = 1\n"
WRONG = [
    ("train too", '[finder]\nclasses = ["building"]\n[train]\nsteps = 3\n' + SOURCE, r"has \[finder\] and \[train\]"),
    (
        "network too",
        '[finder]\nclasses = ["building"]\n[network]\npreset = "deep"\n' + SOURCE,
        r"has \[finder\] and \[network\]",
    ),
    ("key of train", '[finder]\nclasses = ["building"]\nwarm_up = 3\n' + SOURCE, r"\[finder\] has the unknown key warm_up"),
    ("crops of train", '[finder]\nclasses = ["building"]\ncrops = [[64, 4, 1]]\n' + SOURCE, "crops is .* a whole number"),
    ("no class", "[finder]\nclasses = []\n" + SOURCE, "one or more layers"),
    ("no classes", "[finder]\n" + SOURCE, "has no classes"),
    ("class without labels", '[finder]\nclasses = ["building", "car"]\n' + SOURCE, "no .* has the class 'car'"),
    ("source without classes", '[finder]\nclasses = ["car"]\n' + SOURCE, "has the layers building, region, none of which"),
    ("start", 'start = "none"\n[finder]\nclasses = ["building"]\n' + SOURCE, "needs a trained model"),
    ("zooms", '[finder]\nclasses = ["building"]\nzooms = [[2, 1], [1, 2]]\n' + SOURCE, "ascending"),
    ("scene layer", '[finder]\nclasses = ["roof"]\n' + SOURCE + 'layers = ["roof"]\n', "give one or more of building, region"),
]


@pytest.mark.parametrize(("text", "message"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_a_wrong_recipe_of_a_finder_is_refused(tmp_path, text, message):
    (tmp_path / "recipe.toml").write_text(text)
    with pytest.raises(OptionError, match=message):
        load_recipe(tmp_path / "recipe.toml")


def test_layers_that_are_no_classes_are_not_learned(tmp_path):
    text = '[finder]\nclasses = ["car", "building"]\n' + SOURCE + 'layers = ["building", "car", "tree"]\n'
    (tmp_path / "recipe.toml").write_text(text)
    found = load_recipe(tmp_path / "recipe.toml")
    assert found.options is None
    (source,) = found.read()
    assert set(source.layers) == {"building", "car"}
    assert set(source.pictures[0].layers) == {"building", "car", "tree"}
    cars = source.pictures[0].layers["car"]
    assert cars.max() > 3


def test_the_recipe_of_the_bundled_finder_wants_its_data(tmp_path):
    found = load_recipe("building")
    assert found.finder.classes == ("building",)
    assert (found.finder.crops, found.finder.steps, found.finder.scored) == (1600, 700, 420)
    assert found.finder.zooms == ((0.22, 1.0), (0.42, 1.5), (0.8, 2.0), (1e6, 4.0)) == load_finder().info.zooms
    with pytest.raises(OptionError, match="--data"):
        list(found.read())
    with pytest.raises(OptionError, match="--data"):
        run_recipe("building", tmp_path / "b.safetensors", device="cpu")
