"""SAM-HQ answers what its published code and transformers' SamHQModel answer, and reads the checkpoints of both layouts."""

import json
import pickle

import numpy as np
import pytest
import torch
from drawn_weights import PUBLISHED, SMALL, hq_state, mobile_state, pixels
from safetensors.torch import load_file, save_file
from sam_hq_oracle import random_sam_hq

import samgeo
from samgeo.errors import CheckpointError, OptionError
from samgeo.models.embedding_packing import Rounding, Storable, nbytes, pack, rounded, unpack
from samgeo.models.mobile_sam.checkpoint import folded
from samgeo.models.preprocessing import normalise
from samgeo.models.protocols import Describing, Gating, Guiding, Pyramidal, Segmenter
from samgeo.models.sam1.architecture import VIT_B
from samgeo.models.sam1.base import Embedding
from samgeo.models.sam_hq import is_sam_hq, load_sam_hq
from samgeo.models.sam_hq.model import SamHq, SamHqNetwork

CLOSE = {"rtol": 0, "atol": 1e-4}
SIDE = 64

pytestmark = pytest.mark.usefixtures("one_thread")


def load(path, **options):
    return load_sam_hq(path, device="cpu", **options)


@pytest.fixture(scope="module")
def oracle():
    return random_sam_hq()


@pytest.fixture(scope="module")
def folder(oracle, tmp_path_factory):
    path = tmp_path_factory.mktemp("sam_hq")
    oracle.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def model(folder):
    return load(folder)


@pytest.fixture(scope="module")
def hq_only(folder):
    return load(folder, hq_only=True)


@pytest.fixture(scope="module")
def embedding(model):
    return model.embed(pixels(1, SIDE))[0]


@pytest.fixture
def state():
    return hq_state()


def prompts(kind, count, seed=0):
    """Return random prompts in the coordinates of the protocol, for each of the words in ``kind``."""
    rng = np.random.default_rng(seed)
    every = {
        "points": {"points": rng.uniform(0, SIDE, (count, 3, 2)), "labels": rng.integers(-1, 2, (count, 3))},
        "boxes": {"boxes": rng.uniform(0, SIDE, (count, 4))},
        "masks": {"masks": rng.normal(0, 5, (count, SIDE // 4, SIDE // 4))},
    }
    return {name: np.float32(value) for word in kind.split() for name, value in every[word].items()}


def reference(oracle, images, given, *, multimask, hq_only=False):
    """Ask transformers, which counts from pixel centres and takes one mask an image."""
    tensors = {name: torch.from_numpy(value) for name, value in given.items()}
    answers = []
    with torch.inference_mode():
        features, early = oracle.get_image_embeddings(normalise(torch.from_numpy(images)))
        for i in range(len(next(iter(tensors.values())))):
            one = {name: value[i : i + 1] for name, value in tensors.items()}
            out = oracle(
                image_embeddings=features,
                intermediate_embeddings=early,
                input_points=one["points"][None] - 0.5 if "points" in one else None,
                input_labels=one["labels"][None] if "labels" in one else None,
                input_boxes=one["boxes"][None] - 0.5 if "boxes" in one else None,
                input_masks=one["masks"][None] if "masks" in one else None,
                multimask_output=multimask,
                hq_token_only=hq_only,
            )
            answers.append((out.pred_masks[0], out.iou_scores[0]))
    return tuple(torch.cat(part) for part in zip(*answers, strict=True))


def best_first(logits, predicted):
    """Sort the masks of each prompt by their predicted IoU, as transformers does."""
    order = predicted.argsort(dim=1, descending=True)
    sides = logits.shape[2:]
    return logits.gather(1, order[..., None, None].expand(-1, -1, *sides)), predicted.gather(1, order)


@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize("kind", ["points", "boxes", "points boxes", "points boxes masks"])
def test_every_kind_of_prompt_answers_what_transformers_answers(oracle, model, hq_only, embedding, kind, multimask):
    given = prompts(kind, 3)
    logits, predicted = model.decode(embedding, **given, multimask=multimask)
    assert logits.shape == (3, 3 if multimask else 1, 16, 16)
    truth = reference(oracle, pixels(1, SIDE), given, multimask=multimask)
    torch.testing.assert_close(best_first(logits, predicted), truth, **CLOSE)
    assert truth[0].std() > 0.5
    alone, best = hq_only.decode(embedding, **given, multimask=multimask)
    truth = reference(oracle, pixels(1, SIDE), given, multimask=multimask, hq_only=True)
    assert alone.shape == (3, 1, 16, 16)
    torch.testing.assert_close(alone, truth[0], **CLOSE)
    torch.testing.assert_close(best[:, 0], truth[1].amax(dim=1), **CLOSE)
    assert (alone - logits).abs().amax() > 0.5


@pytest.mark.parametrize(
    "shape",
    [
        {"window": 7, "global_blocks": (0, 2)},
        {"image_size": 128, "hidden": 48, "heads": 3, "layers": 4, "window": 5, "global_blocks": (2, 3), "width": 64},
    ],
)
def test_other_sizes_answer_what_transformers_answers(shape, tmp_path):
    oracle = random_sam_hq(**shape)
    oracle.save_pretrained(tmp_path)
    model = load(tmp_path)
    images, given = pixels(1, model.input_size), prompts("points boxes", 2)
    answer = model.decode(model.embed(images)[0], **given)
    torch.testing.assert_close(best_first(*answer), reference(oracle, images, given, multimask=True), **CLOSE)


def assert_published(model, side, *, features, clicks, clicks_iou, boxes, boxes_iou):
    """Compare with numbers of the published code, which returns the mask with the highest predicted IoU of the three."""
    embedding, scale, last = model.embed(pixels(1, side))[0], side // 128, side // 16 - 1
    maps = embedding.features[0]
    found = torch.stack([maps[0, 0, 0], maps[5, side // 32, last], maps[-1, last, 3]])
    torch.testing.assert_close(found, torch.tensor(features), **CLOSE)
    points = scale * np.array([[[30.3, 40.2], [60, 100]], [[100, 90], [5, 5]]])[: len(clicks_iou)]
    logits, predicted = model.decode(embedding, points=points, labels=np.array([[1, 0], [1, 1]])[: len(clicks_iou)])
    best = logits[torch.arange(len(points)), predicted.argmax(dim=1)]
    torch.testing.assert_close(some_of(best), torch.tensor(clicks), **CLOSE)
    torch.testing.assert_close(predicted.amax(dim=1), torch.tensor(clicks_iou), **CLOSE)
    given = scale * np.array([[10, 20, 70.5, 90], [40, 40, 120, 100]])[: len(boxes_iou)]
    logits, predicted = model.decode(embedding, boxes=given, multimask=False)
    torch.testing.assert_close(some_of(logits[:, 0]), torch.tensor(boxes), **CLOSE)
    torch.testing.assert_close(predicted[:, 0], torch.tensor(boxes_iou), **CLOSE)


def some_of(masks):
    side = masks.shape[-1]
    found = [masks[0, 0, 0], masks[0, side // 2, side // 3]]
    return torch.stack(found if len(masks) == 1 else [*found, masks[1, -1, 5]])


def test_answers_what_the_published_code_answers(state, tmp_path):
    """The numbers were computed once by the published code, SysCV/sam-hq at fb181f8, for the same weights and image.

    Its encoder and decoder were made with the sizes of ``SMALL_VIT``, and half a pixel was subtracted from coordinates, because
    its prompt encoder adds it.
    """
    torch.save(state, tmp_path / "sam_hq_vit_s.pth")
    model = load(tmp_path / "sam_hq_vit_s.pth")
    assert (model.name, model.input_size) == ("sam_hq_vit_s", 128)
    assert_published(
        model,
        128,
        features=[-0.30456, 0.96289, -1.0043],
        clicks=[1.55215, -0.04328, 3.40773],
        clicks_iou=[-0.46482, -0.34318],
        boxes=[0.24916, -0.86015, 1.61438],
        boxes_iou=[0.37864, 0.45772],
    )


def test_with_the_encoder_of_mobile_sam_it_answers_what_the_published_code_answers(tmp_path):
    """The numbers were computed as in the test before, with the sizes of ``PUBLISHED``."""
    save_file(hq_state(PUBLISHED), tmp_path / "tiny.safetensors")
    assert_published(
        load(tmp_path / "tiny.safetensors"),
        1024,
        features=[0.39498, -0.9998, -0.00867],
        clicks=[2.919, 4.4508],
        clicks_iou=[0.521],
        boxes=[3.27519, 2.27029],
        boxes_iou=[0.02721],
    )


def test_the_published_networks_have_25_tensors_more_than_sam(state):
    with torch.device("meta"):
        network = SamHqNetwork(VIT_B)
    # The published code has as many; transformers has the random frequencies twice.
    assert sum(one.numel() for one in network.parameters()) == 94_806_576
    added = ("hf_token", "hf_mlp", "compress_vit_feat", "embedding_encoder", "embedding_maskfeature")
    assert sum(name.startswith(tuple(f"mask_decoder.{part}." for part in added)) for name in state) == 25


def test_all_layouts_and_containers_hold_the_same_weights(state, folder, tmp_path):
    files = {
        "official.pth": lambda path: torch.save(state, path),
        "wrapped.pth": lambda path: torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}}, path),
        "official.safetensors": lambda path: save_file(state, path),
    }
    for name, write in files.items():
        write(tmp_path / name)
        weights = load(tmp_path / name).network.state_dict()
        assert weights.keys() == state.keys()
        assert all(torch.equal(weights[key], state[key]) for key in state), name
    assert load(folder).name == folder.name
    given = load_file(folder / "model.safetensors")
    weights = load(folder).network.state_dict()
    pairs = {
        "hf_mlp.layers.0.weight": "hq_mask_mlp.proj_in.weight",
        "hf_mlp.layers.1.bias": "hq_mask_mlp.layers.0.bias",
        "hf_mlp.layers.2.weight": "hq_mask_mlp.proj_out.weight",
        "embedding_maskfeature.3.weight": "mask_conv2.weight",
        "compress_vit_feat.1.weight": "compress_vit_norm.weight",
    }
    for ours, theirs in pairs.items():
        assert torch.equal(weights[f"mask_decoder.{ours}"], given[f"mask_decoder.{theirs}"])


def test_the_encoder_of_mobile_sam_is_read_as_in_mobile_sam(tmp_path):
    given = hq_state(SMALL)
    torch.save({**given, "image_encoder.head.bias": torch.zeros(7)}, tmp_path / "tiny.pth")
    weights, expected = load(tmp_path / "tiny.pth").network.state_dict(), folded(given)
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s.pop("mask_decoder.hf_token.weight"), "1 tensors are missing, such as mask_decoder.hf_token.weight"),
        (lambda s: s.pop("image_encoder.pos_embed"), "pos_embed is missing"),
        (
            lambda s: s.update({"mask_decoder.robust.weight": torch.zeros(1)}),
            "do not belong to SAM-HQ, such as mask_decoder.robust",
        ),
        (lambda s: s.update({"mask_decoder.compress_vit_feat.0.weight": torch.zeros(16, 64, 2, 2)}), r"not \(32, 64, 2, 2\)"),
        (
            lambda s: s["mask_decoder.hf_mlp.layers.2.bias"].fill_(float("inf")),
            "layers.2.bias holds values that are not finite",
        ),
        (
            lambda s: s.update({name: torch.zeros(5, 16) for name in s if "rel_pos" in name}),
            "no block of the image encoder attends to the whole image",
        ),
    ],
)
def test_weights_that_make_no_sam_hq_are_refused(state, tmp_path, change, says):
    change(state)
    path = tmp_path / "hq.pth"
    torch.save(state, path)
    with pytest.raises(CheckpointError, match=says) as error:
        load(path)
    assert str(path) in str(error.value)


def test_other_files_are_refused(state, tmp_path):
    path = tmp_path / "other.pth"
    torch.save(mobile_state(), path)
    with pytest.raises(CheckpointError, match=r"25 tensors are missing, such as mask_decoder\.hf_token\.weight.*SAM-HQ"):
        load(path)
    torch.save(state, path)
    with pytest.raises(CheckpointError, match="has sha256"):
        load(path, sha256="0" * 64)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "sam"}))
    with pytest.raises(CheckpointError, match=r"config\.json beside the weights describes a model of type 'sam'"):
        load(path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match="truncated or corrupt"):
        load(path)
    with pytest.raises(CheckpointError, match="there is no file"):
        load(tmp_path / "absent.pth")


def test_the_names_of_both_layouts_are_recognised(state, oracle):
    assert is_sam_hq(set(state))
    assert is_sam_hq(set(oracle.state_dict()))
    assert is_sam_hq({f"module.{name}" for name in state})
    assert not is_sam_hq({"sam_mask_decoder.hf_token.weight"})


def test_it_fits_the_protocols(model):
    for protocol in (Segmenter, Gating, Describing, Guiding, Pyramidal, Storable, Rounding):
        assert isinstance(model, protocol)


@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize("alone", [True, False])
def test_gated_decoding_gives_what_passes_of_all(model, hq_only, embedding, alone, multimask, monkeypatch):
    monkeypatch.setattr("samgeo.models.sam1.base.DECODE_BYTES", 4 * 8.3 * 4**2 * 32 * 4)  # four prompts at once
    one, given = hq_only if alone else model, prompts("points", 11)
    logits, predicted = one.decode(embedding, **given, multimask=multimask)
    min_iou = float(predicted.median())
    prompt, token, painted, scores = one.decode_gated(embedding, **given, min_iou=min_iou, multimask=multimask)
    expected = (predicted > min_iou).nonzero().numpy()
    assert 0 < len(expected) < predicted.numel()
    np.testing.assert_array_equal(np.stack([prompt, token], axis=1), expected)
    torch.testing.assert_close(painted, logits[prompt, token], rtol=0, atol=1e-5)
    np.testing.assert_array_equal(scores, predicted[prompt, token].numpy())


def test_prompts_painted_together_are_as_painted_alone(model, embedding, monkeypatch):
    given = prompts("points", 5)
    alone = model.decode(embedding, **given)
    monkeypatch.setattr("samgeo.models.sam_hq.decoder.PAINT_AT_ONCE_ON_CPU", 3)
    torch.testing.assert_close(model.decode(embedding, **given), alone, rtol=0, atol=1e-5)


def test_a_stored_embedding_decodes_as_the_rounded_one(model):
    embedding = model.embed(pixels(2, SIDE))[1]
    arrays = pack(model, embedding)
    assert {name: (array.shape, str(array.dtype)) for name, array in arrays.items()} == {
        "features": ((32, 4, 4), "float16"),
        "hq_features": ((4, 16, 16), "float16"),
    }
    assert nbytes(embedding) == 2 * sum(array.nbytes for array in arrays.values())
    stored, new = unpack(model, arrays), rounded(model, embedding)
    assert torch.equal(stored.features, new.features)
    assert torch.equal(stored.hq_features, new.hq_features)
    given = prompts("points boxes", 3)
    assert all(torch.equal(*pair) for pair in zip(model.decode(stored, **given), model.decode(new, **given), strict=True))


def test_the_mask_of_high_quality_changes_the_digest(model, hq_only, folder):
    assert hq_only.digest == f"{model.digest}-hq-only"
    assert load(folder, dtype="bfloat16", hq_only=True).digest == f"{model.digest}-bfloat16-hq-only"


def test_bfloat16_draws_nearly_the_masks_of_float32(folder, model, embedding):
    half, given = load(folder, dtype="bfloat16"), prompts("boxes", 8)
    truth, scores = model.decode(embedding, **given)
    logits, predicted = half.decode(half.embed(pixels(1, SIDE))[0], **given)
    assert logits.dtype == predicted.dtype == torch.float32
    assert (logits - truth).abs().mean() < 0.05 * truth.std()
    torch.testing.assert_close(predicted, scores, rtol=0, atol=0.05)


def test_a_guide_and_a_pickled_model(model, embedding):
    given = prompts("points", 2)
    bias, target = np.zeros((4, 4), np.float32), model.features(embedding)[1, 2]
    free, _ = model.decode_guided(embedding, **given, bias=bias, target=np.zeros(32, np.float32))
    moved, _ = model.decode_guided(embedding, **given, bias=bias, target=target)
    assert (free != moved).any()
    copy = pickle.loads(pickle.dumps(model))  # noqa: S301 - made here
    assert torch.equal(copy.decode(embedding, **given)[0], model.decode(embedding, **given)[0])


def test_the_embedding_of_sam_1_is_refused(model, embedding):
    with pytest.raises(OptionError, match="another model"):
        model.decode(Embedding(embedding.features), boxes=np.zeros((1, 4)))


@pytest.fixture(scope="module")
def raster():
    """Bright squares on a dark ground, one and a half windows wide."""
    image = np.full((SIDE, SIDE * 3 // 2, 3), 40, np.uint8)
    for x in range(5, 85, 20):
        image[15:25, x : x + 10] = 200
    return image


def test_segment_takes_the_model(model, raster):
    options = {"overlap": 32, "points_per_side": 3, "pred_iou": 0.0, "stability": 0.0, "progress": False, "workers": 1}
    found = samgeo.segment(raster, model=model, **options)
    assert len(found) > 0
    assert found.is_valid.all()


@pytest.mark.parametrize("alone", [True, False])
def test_predictor_takes_the_model(model, hq_only, raster, alone):
    chosen = hq_only if alone else model
    found = samgeo.Predictor(raster, model=chosen).predict(boxes=[[5, 15, 15, 25], [65, 15, 75, 25]], refine=1)
    assert len(found) == 2
    assert found.is_valid.all()


def test_predictor_takes_the_model_with_the_encoder_of_mobile_sam(raster):
    network = SamHqNetwork(SMALL)
    network.load_state_dict(folded(hq_state(SMALL)))
    model = SamHq(network, name="tiny", digest="0")
    found = samgeo.Predictor(raster, model=model).predict(boxes=[[5, 15, 15, 25]])
    assert len(found) == 1
