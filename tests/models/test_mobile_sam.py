"""MobileSAM answers what its published code answers, and reads its checkpoints; whatever else lies in a file is refused."""

import hashlib
import pickle

import numpy as np
import pytest
import torch
from drawn_weights import PUBLISHED, SMALL, SMALL_VIT, hq_state, mobile_state, pixels
from safetensors.torch import save_file

import samgeo
from samgeo.errors import CheckpointError, OptionError
from samgeo.models.embedding_packing import Rounding, Storable, nbytes, pack, rounded, unpack
from samgeo.models.mobile_sam import is_mobile_sam, load_mobile_sam
from samgeo.models.mobile_sam.architecture import MOBILE_SAM, MobileArchitecture
from samgeo.models.mobile_sam.checkpoint import folded, official_state
from samgeo.models.mobile_sam.encoder import Attention, TinyVit
from samgeo.models.mobile_sam.model import MobileSam, MobileSamNetwork
from samgeo.models.protocols import Describing, Gating, Guiding, Pyramidal, Segmenter
from samgeo.models.sam1.architecture import VIT_B
from samgeo.models.sam1.model import SamNetwork
from samgeo.models.sam_hq import is_sam_hq

SIDE = SMALL.input_size
CLOSE = {"rtol": 0, "atol": 1e-4}

pytestmark = pytest.mark.usefixtures("one_thread")


def load(path, **options):
    return load_mobile_sam(path, device="cpu", **options)


def small(dtype=torch.float32):
    """A MobileSAM for windows of 128 pixels; checkpoint files are always loaded for 1024."""
    network = MobileSamNetwork(SMALL)
    network.load_state_dict(folded(mobile_state()))
    return MobileSam(network, name="small", digest="0", dtype=dtype)


@pytest.fixture(scope="module")
def model():
    return small()


@pytest.fixture(scope="module")
def embedding(model):
    return model.embed(pixels(1, SIDE))[0]


@pytest.fixture
def state():
    return mobile_state()


def points(count, seed=0):
    random = np.random.default_rng(seed)
    return {"points": random.uniform(0, SIDE, (count, 2, 2)), "labels": random.integers(0, 2, (count, 2))}


def shapes_of(state):
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


@pytest.mark.parametrize(
    ("architecture", "features", "click", "click_iou", "box"),
    [
        (
            PUBLISHED,
            [0.39498, -0.9998, -0.00867],
            [1.38849, -0.75128],
            [0.59556, 0.09192, 1.02741],
            [-2.64419, -0.28961, 0.04143],
        ),
        pytest.param(
            MOBILE_SAM,
            [-1.5175, -1.03989, 1.2143],
            [-0.53267, -1.54215],
            [0.00719, 0.54433, -0.0708],
            [-0.52654, -2.02667, 1.1256],
            marks=pytest.mark.slow,
        ),
    ],
    ids=["small", "real size"],
)
def test_answers_what_the_published_code_answers(architecture, features, click, click_iou, box, tmp_path):
    """The numbers were computed once by the published code, ChaoningZhang/MobileSAM at 34bbbfd, for the same weights and image.

    Its TinyViT and decoder were made with the sizes of ``architecture``. Half a pixel was subtracted from coordinates, because
    its prompt encoder adds it.
    """
    path = tmp_path / "mobile_sam.pt"
    torch.save(mobile_state(architecture), path)
    model = load(path)
    assert (model.name, model.input_size) == ("mobile_sam", 1024)
    embedding = model.embed(pixels(1, 1024))[0]
    maps = embedding.features[0]
    torch.testing.assert_close(torch.stack([maps[0, 0, 0], maps[5, 32, 63], maps[-1, 63, 3]]), torch.tensor(features), **CLOSE)
    logits, predicted = model.decode(embedding, points=[[[242.4, 321.6], [480, 800]]], labels=[[1, 0]])
    torch.testing.assert_close(torch.stack([logits[0, 0, 0, 0], logits[0, 2, 128, 85]]), torch.tensor(click), **CLOSE)
    torch.testing.assert_close(predicted[0], torch.tensor(click_iou), **CLOSE)
    logits, predicted = model.decode(embedding, boxes=[[80, 160, 564, 720]], multimask=False)
    found = torch.stack([logits[0, 0, 0, 0], logits[0, 0, 128, 85], predicted[0, 0]])
    torch.testing.assert_close(found, torch.tensor(box), **CLOSE)


def test_the_published_sizes_are_derived_from_the_tensors():
    with torch.device("meta"):
        network = MobileSamNetwork(MOBILE_SAM)
    shapes = shapes_of(official_state(network))
    assert MobileArchitecture.from_shapes(shapes) == MOBILE_SAM
    assert MOBILE_SAM.input_size == 1024
    # The published network has 10,130,092 parameters. Those of its classifier are not used, and the weights of its batch
    # normalisations are part of convolutions here.
    classifier = 2 * 320 + 320 * 1000 + 1000
    channels = sum(shape[0] for name, shape in shapes.items() if name.endswith("bn.weight"))
    assert sum(one.numel() for one in network.parameters()) == 10_130_092 - classifier - channels


def test_a_folded_normalisation_is_the_normalisation(state):
    name = "image_encoder.layers.1.blocks.0.local_conv"
    kernel = state[f"{name}.c.weight"]
    norm = torch.nn.BatchNorm2d(len(kernel)).eval()
    norm.load_state_dict(
        {of: state[f"{name}.bn.{of}"] for of in ("weight", "bias", "running_mean", "running_var")}, strict=False
    )
    image = torch.randn(2, len(kernel), 9, 9, generator=torch.Generator().manual_seed(0))
    weights = folded(state)
    convolved = torch.nn.functional.conv2d(image, weights[f"{name}.weight"], weights[f"{name}.bias"], groups=len(kernel))
    expected = norm(torch.nn.functional.conv2d(image, kernel, groups=len(kernel)))
    torch.testing.assert_close(convolved, expected, rtol=0, atol=1e-6)


def test_the_bias_of_two_cells_is_that_of_their_distance():
    attention = Attention(4, 2, 3)
    attention.attention_biases.data = torch.arange(18.0).view(2, 9)
    bias = attention._bias()
    for one in range(9):
        for other in range(9):
            rows, columns = abs(one // 3 - other // 3), abs(one % 3 - other % 3)
            assert bias[:, one, other].tolist() == [3 * rows + columns, 9 + 3 * rows + columns]


@pytest.mark.parametrize("side", [128, 112, 48])
def test_images_of_any_side_that_sixteen_divides_are_encoded(side):
    encoder = TinyVit(SMALL.encoder, 32)
    embeddings, early = encoder.with_early(torch.zeros(1, 3, side, side))
    assert embeddings.shape == (1, 32, side // 16, side // 16)
    assert early.shape == (1, 16, side // 16, side // 16)


def test_all_containers_hold_the_same_weights(state, tmp_path):
    unused = {
        "image_encoder.head.weight": torch.zeros(10, 16),
        "image_encoder.head.bias": torch.zeros(10),
        "image_encoder.norm_head.weight": torch.ones(16),
        "image_encoder.norm_head.bias": torch.zeros(16),
        "image_encoder.patch_embed.seq.0.bn.num_batches_tracked": torch.tensor(7),
        "image_encoder.layers.1.blocks.0.attn.attention_bias_idxs": torch.zeros(9, 9, dtype=torch.int64),
    }
    files = {
        "mobile.pt": lambda path: torch.save(state, path),
        "legacy.pth": lambda path: torch.save(state, path, _use_new_zipfile_serialization=False),
        "unused.pt": lambda path: torch.save(state | unused, path),
        "wrapped.pt": lambda path: torch.save(
            {"model": {f"module.{name}": one for name, one in state.items()}, "epoch": 3}, path
        ),
        "double.pt": lambda path: torch.save({name: one.double() for name, one in state.items()}, path),
        "mobile.safetensors": lambda path: save_file(state, path),
    }
    expected = folded(state)
    for name, write in files.items():
        write(tmp_path / name)
        loaded = load(tmp_path / name)
        weights = loaded.network.state_dict()
        assert weights.keys() == expected.keys()
        assert all(torch.equal(weights[key], expected[key]) for key in expected), name
        assert loaded.name == name.partition(".")[0]
        assert loaded.digest == hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
    assert load(tmp_path / "mobile.pt", name="mine", sha256=load(tmp_path / "mobile.pt").digest[:12]).name == "mine"
    with pytest.raises(CheckpointError, match="has sha256"):
        load(tmp_path / "mobile.pt", sha256="0" * 64)


class Payload:
    """Runs when unpickled by a reader that trusts the file."""

    def __reduce__(self):
        return (print, ("the payload ran",))


def test_nothing_in_a_file_is_run(state, tmp_path, capsys):
    torch.save({**state, "extra": Payload()}, tmp_path / "evil.pt")
    with pytest.raises(CheckpointError, match="could run code"):
        load(tmp_path / "evil.pt")
    assert "payload" not in capsys.readouterr().out


FIRST = "image_encoder.layers.1.blocks.0."


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda s: s.pop(f"{FIRST}attn.attention_biases"),
            "attn.attention_biases is missing: this is not a complete MobileSAM",
        ),
        (lambda s: s.pop("image_encoder.neck.0.weight"), "1 tensors are missing, such as image_encoder.neck.0.weight"),
        (lambda s: s.pop(f"{FIRST}local_conv.bn.running_var"), "such as .*local_conv.bn.running_var"),
        (lambda s: s.pop("mask_decoder.iou_token.weight"), "such as mask_decoder.iou_token.weight"),
        (lambda s: s.update({"mask_decoder.hf_token.weight": torch.zeros(1, 32)}), "hf_token.weight: this is another kind"),
        (lambda s: s.update({f"{FIRST}attn.attention_biases": torch.zeros(2, 10)}), "the second size must be a square"),
        (lambda s: s.update({f"{FIRST}attn.attention_biases": torch.zeros(3, 9)}), "the number of heads must divide"),
        (lambda s: s.update({f"{FIRST}attn.attention_biases": torch.zeros(0, 9)}), "the number of heads must divide"),
        (lambda s: s.update({f"{FIRST}attn.attention_biases": torch.zeros(2, 0)}), "the second size must be a square"),
        (lambda s: s.update({f"{FIRST}attn.attention_biases": torch.zeros(9)}), "not 2 dimensions"),
        (lambda s: s.update({f"{FIRST}attn.qkv.weight": torch.zeros(8, 8)}), r"qkv.weight has shape \(8, 8\), not \(24, 8\)"),
        (lambda s: s.update({f"{FIRST}mlp.fc1.weight": torch.zeros(0, 8)}), "has no channels"),
        (
            lambda s: s.update({"image_encoder.patch_embed.seq.0.bn.bias": torch.zeros(9)}),
            r"bn.bias has shape \(9,\), not \(4,\)",
        ),
        (lambda s: s[f"{FIRST}local_conv.bn.running_var"].fill_(-1), "local_conv.bn.running_var has negative values"),
        (
            lambda s: s[f"{FIRST}local_conv.bn.running_mean"].fill_(float("nan")),
            "running_mean holds values that are not finite",
        ),
        (
            lambda s: s.update({"image_encoder.neck.1.bias": torch.zeros(32, dtype=torch.int8)}),
            "floating-point type is expected",
        ),
        (
            lambda s: [s.pop(name) for name in list(s) if ".layers.2." in name or ".layers.1.downsample." in name],
            "has 2 stages",
        ),
        (lambda s: s.clear(), "is missing"),
    ],
)
def test_weights_that_make_no_mobile_sam_are_refused(state, tmp_path, change, says):
    change(state)
    path = tmp_path / "mobile.pt"
    torch.save(state, path)
    with pytest.raises(CheckpointError, match=says) as error:
        load(path)
    assert str(path) in str(error.value)


def test_checkpoints_of_other_models_and_damaged_files_are_refused(state, tmp_path):
    path = tmp_path / "other.pt"
    torch.save(hq_state(SMALL_VIT), path)
    with pytest.raises(CheckpointError, match="is missing: this is not a complete MobileSAM checkpoint"):
        load(path)
    save_file(state, path)
    for share in (0.01, 0.5, 0.99):
        path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
        with pytest.raises(CheckpointError, match=r"corrupt|neither"):
            load(path)
    with pytest.raises(CheckpointError, match="there is no file"):
        load(tmp_path / "absent.pt")
    with pytest.raises(OptionError, match="dtype 'float16' is not supported"):
        load(path, dtype="float16")


def test_models_are_told_apart_by_the_names_of_their_tensors(state):
    with torch.device("meta"):
        sam1 = set(SamNetwork(VIT_B).state_dict())
    tiny, vit = set(hq_state(SMALL)), set(hq_state(SMALL_VIT))
    found = [(is_mobile_sam(names), is_sam_hq(names)) for names in (set(state), sam1, tiny, vit, set())]
    assert found == [(True, False), (False, False), (False, True), (False, True), (False, False)]
    assert is_mobile_sam({f"module.{name}" for name in state})


def test_it_fits_the_protocols(model):
    for protocol in (Segmenter, Gating, Describing, Guiding, Pyramidal, Storable, Rounding):
        assert isinstance(model, protocol)


def test_a_batch_answers_what_its_members_answer_alone(model, monkeypatch):
    images = pixels(3, SIDE)
    together = model.embed(images)
    assert len(together) == 3
    assert together.features.is_contiguous()
    for index in range(3):
        alone = model.embed(images[index : index + 1]).features
        torch.testing.assert_close(together[index].features, alone, rtol=0, atol=1e-5)
    monkeypatch.setattr("samgeo.models.sam1.base.ENCODE_BYTES", 1)
    torch.testing.assert_close(model.embed(images).features, together.features, rtol=0, atol=1e-5)


def test_what_lies_in_the_padding_does_not_matter(model):
    images, sizes = pixels(2, SIDE), np.array([[80, 128], [128, 47]])
    blank = images.copy()
    for image, (height, width) in zip(blank, sizes, strict=True):
        image[height:] = 0
        image[:, width:] = 255
    assert torch.equal(model.embed(images, sizes).features, model.embed(blank, sizes).features)
    assert not torch.equal(model.embed(images, sizes).features, model.embed(images).features)


@pytest.mark.parametrize("multimask", [True, False])
def test_gated_decoding_gives_what_passes_of_all(model, embedding, multimask):
    given = points(9)
    logits, predicted = model.decode(embedding, **given, multimask=multimask)
    min_iou = float(predicted.median())
    prompt, token, painted, scores = model.decode_gated(embedding, **given, min_iou=min_iou, multimask=multimask)
    expected = (predicted > min_iou).nonzero().numpy()
    assert 0 < len(expected) < predicted.numel()
    np.testing.assert_array_equal(np.stack([prompt, token], axis=1), expected)
    torch.testing.assert_close(painted, logits[prompt, token], rtol=0, atol=1e-5)
    np.testing.assert_array_equal(scores, predicted[prompt, token].numpy())


def test_a_stored_embedding_decodes_as_the_rounded_one(model, embedding):
    arrays = pack(model, embedding)
    assert {name: (array.shape, array.dtype) for name, array in arrays.items()} == {"features": ((32, 8, 8), np.float16)}
    assert nbytes(embedding) == 4 * 32 * 8 * 8
    stored, new = unpack(model, arrays), rounded(model, embedding)
    assert torch.equal(stored.features, new.features)
    given = points(3)
    assert all(torch.equal(*pair) for pair in zip(model.decode(stored, **given), model.decode(new, **given), strict=True))


def test_bfloat16_draws_nearly_the_masks_of_float32(model, embedding):
    half, given = small(torch.bfloat16), points(8)
    assert half.digest == "0-bfloat16"
    truth, scores = model.decode(embedding, **given)
    logits, predicted = half.decode(half.embed(pixels(1, SIDE))[0], **given)
    assert logits.dtype == predicted.dtype == torch.float32
    assert (logits - truth).abs().mean() < 0.05 * truth.std()
    torch.testing.assert_close(predicted, scores, rtol=0, atol=0.05)


def test_a_model_is_sent_to_other_processes(model, embedding):
    copy = pickle.loads(pickle.dumps(model))  # noqa: S301 - made here
    given = points(2)
    assert torch.equal(copy.decode(embedding, **given)[0], model.decode(embedding, **given)[0])


@pytest.fixture(scope="module")
def raster():
    """Bright squares on a dark ground, one and a half windows wide."""
    image = np.full((SIDE, SIDE * 3 // 2, 3), 40, np.uint8)
    for x in range(10, 170, 40):
        image[30:50, x : x + 20] = 200
    return image


def test_segment_takes_the_model(model, raster):
    options = {"overlap": 64, "points_per_side": 3, "pred_iou": 0.0, "stability": 0.0, "progress": False, "workers": 1}
    found = samgeo.segment(raster, model=model, **options)
    assert len(found) > 0
    assert found.is_valid.all()


@pytest.mark.parametrize("refine", [0, 1])
def test_predictor_takes_the_model(model, raster, refine):
    found = samgeo.Predictor(raster, model=model).predict(boxes=[[10, 30, 30, 50], [130, 30, 150, 50]], refine=refine)
    assert len(found) == 2
    assert found.is_valid.all()
