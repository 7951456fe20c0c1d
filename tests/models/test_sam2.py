"""SAM 2 answers what transformers' Sam2Model answers, to float rounding, whichever layout its weights come in."""

import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sam2_oracle import official_state, random_sam2

import samgeo
from samgeo.errors import OptionError
from samgeo.geo.grid import Rect
from samgeo.models.embedding_packing import nbytes, pack, rounded, unpack
from samgeo.models.preprocessing import normalise
from samgeo.models.protocols import Describing, Gating, Guiding, Pyramidal, Segmenter
from samgeo.models.registry import Gates, default_gates
from samgeo.models.sam1.model import Embedding
from samgeo.models.sam2 import load_sam2
from samgeo.models.sam2.decoder import _is_stable
from samgeo.segmentation.windows.automatic import automatic_masks, embed_window

SIDE = 256
CLOSE = {"rtol": 1e-5, "atol": 1e-4}
SHAPES = {
    "windows that do not divide the grids": {"windows": (8, 4, 14, 7)},
    "windows that divide the grids": {"windows": (8, 8, 4, 2), "global_blocks": (2, 5)},
    # transformers divides by zero if the first block of a later stage is global.
    "global blocks": {"global_blocks": (0, 2, 4, 5)},
    "no block global, other positions": {"global_blocks": (), "position_grid": (14, 14)},
    "a larger input, more blocks": {
        "image_size": 512,
        "widths": (24, 48, 96, 192),
        "heads": (2, 4, 8, 16),
        "blocks": (2, 3, 4, 3),
        "windows": (8, 4, 16, 8),
        "global_blocks": (6, 8),
        "width": 64,
    },
}

pytestmark = pytest.mark.usefixtures("one_thread")


def load(path, input_size=SIDE, dtype=torch.float32):
    return load_sam2(path, name="random", device=torch.device("cpu"), dtype=dtype, input_size=input_size)


@pytest.fixture(scope="module")
def oracle():
    """A model of which about half of the single masks are stable; its logits exceed the limit of mask prompts."""
    model = random_sam2()
    with torch.no_grad():
        for parameter in model.mask_decoder.output_hypernetworks_mlps[0].proj_out.parameters():
            parameter.mul_(16)
    return model


@pytest.fixture(scope="module")
def folder(oracle, tmp_path_factory):
    path = tmp_path_factory.mktemp("sam2")
    oracle.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def sam2(folder):
    return load(folder)


@pytest.fixture(scope="module")
def embedding(sam2):
    return sam2.embed(images(1))[0]


def images(count, side=SIDE, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def prompts(kind, count, side=SIDE, seed=0):
    """Return random prompts in the coordinates of the protocol, for each of the words in ``kind``."""
    rng = np.random.default_rng(seed)
    every = {
        "points": {"points": rng.uniform(0, side, (count, 3, 2)), "labels": rng.integers(-1, 2, (count, 3))},
        "boxes": {"boxes": rng.uniform(0, side, (count, 4))},
        "masks": {"masks": rng.normal(0, 5, (count, side // 4, side // 4))},
    }
    return {name: np.float32(value) for word in kind.split() for name, value in every[word].items()}


def maps_of(embedding):
    return [embedding.s0, embedding.s1, embedding.features]


def reference(oracle, maps, given, multimask):
    """Ask transformers, which counts from pixel centres, and takes one mask prompt for each image."""
    tensors = {name: torch.from_numpy(value) for name, value in given.items()}
    count = len(next(iter(tensors.values())))
    with torch.inference_mode():
        out = oracle(
            image_embeddings=[one.expand(count, -1, -1, -1) for one in maps],
            input_points=tensors["points"][:, None] - 0.5 if "points" in given else None,
            input_labels=tensors["labels"][:, None].int() if "labels" in given else None,
            input_boxes=tensors["boxes"][:, None] - 0.5 if "boxes" in given else None,
            input_masks=tensors["masks"][:, None] if "masks" in given else None,
            multimask_output=multimask,
        )
    return out.pred_masks[:, 0], out.iou_scores[:, 0], out.object_score_logits[:, 0, 0]


def assert_equal_answers(model, embedding, oracle, given, *, multimask, least=0.5):
    """Compare logits, predicted IoU and object scores; the standard deviation of the logits must be above ``least``."""
    logits, predicted = model.decode(embedding, **given, multimask=multimask)
    truth = reference(oracle, maps_of(embedding), given, multimask)
    scores = torch.from_numpy(model.object_scores(embedding, **given))
    # The rounding error of logits grows with the logits. It is below 1e-4 where their standard deviation is up to 4.
    torch.testing.assert_close(logits, truth[0], rtol=0, atol=1e-4 * float(truth[0].std()))
    torch.testing.assert_close((predicted, scores), truth[1:], **CLOSE)
    assert truth[0].std() > least


@pytest.mark.parametrize("layout", ["official", "hugging face"])
@pytest.mark.parametrize("shape", SHAPES)
def test_embeddings_and_answers_are_those_of_transformers(shape, layout, tmp_path):
    oracle = random_sam2(**SHAPES[shape])
    oracle.save_pretrained(tmp_path)
    path = tmp_path
    if layout == "official":
        path = tmp_path / "official.pt"
        torch.save({"model": official_state(oracle)}, path)
    side = SHAPES[shape].get("image_size", SIDE)
    model, pixels = load(path, side), images(2, side)
    embedding = model.embed(pixels)
    with torch.inference_mode():
        maps = oracle.get_image_embeddings(normalise(torch.from_numpy(pixels)))
    torch.testing.assert_close(maps_of(embedding), maps, **CLOSE)
    assert min(one.std() for one in maps) > 0.5
    assert_equal_answers(model, embedding[1], oracle, prompts("points boxes", 4, side), multimask=True)


@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize("kind", ["points", "boxes", "points boxes", "points masks", "boxes masks", "points boxes masks"])
def test_every_kind_of_prompt_is_answered_as_by_transformers(oracle, sam2, embedding, kind, multimask):
    assert_equal_answers(sam2, embedding, oracle, prompts(kind, 5), multimask=multimask)


def test_a_mask_alone_has_no_tokens_as_in_the_official_image_predictor(oracle, sam2, embedding):
    """transformers has two padding tokens then; a point that is padding, and its own padding token, are the same here."""
    given = prompts("masks", 2)
    padding = {"points": np.zeros((2, 1, 2), np.float32), "labels": np.full((2, 1), -1)}
    truth = reference(oracle, maps_of(embedding), given, multimask=True)
    padded = sam2.decode(embedding, **given, **padding)
    torch.testing.assert_close(padded, truth[:2], **CLOSE)
    alone, _ = sam2.decode(embedding, **given)
    assert (alone - truth[0]).abs().max() > 0.01


def test_the_single_mask_is_the_first_where_it_is_stable_and_else_the_best_of_the_others(oracle, sam2, embedding):
    given = prompts("points", 40)
    logits, predicted = sam2.decode(embedding, **given, multimask=False)
    several, scores = sam2.decode(embedding, **given)
    best = scores.argmax(dim=1)
    rows = torch.arange(40)
    fell_back = (logits[:, 0] - several[rows, best]).abs().flatten(1).amax(dim=1) < 1e-3
    assert 5 < fell_back.sum() < 35
    torch.testing.assert_close(predicted[fell_back, 0], scores[rows, best][fell_back], rtol=0, atol=0)
    assert _is_stable(logits[~fell_back, 0]).all()
    assert_equal_answers(sam2, embedding, oracle, given, multimask=False)


def test_an_empty_mask_is_stable_and_a_mask_of_small_logits_is_not():
    masks = torch.stack([torch.full((4, 4), value) for value in (-1.0, 0.0, 0.06)])
    assert _is_stable(masks).tolist() == [True, False, True]


def test_mask_prompts_are_clamped_as_the_official_image_predictor_clamps_them(oracle, sam2, embedding):
    given = prompts("points masks", 3)
    given["masks"] *= 20
    clamped = {**given, "masks": given["masks"].clip(-32, 32)}
    assert (given["masks"] != clamped["masks"]).mean() > 0.5
    assert torch.equal(sam2.decode(embedding, **given)[0], sam2.decode(embedding, **clamped)[0])
    assert_equal_answers(sam2, embedding, oracle, clamped, multimask=True)
    logits, _ = sam2.decode(embedding, **prompts("points", 40), multimask=False)
    assert logits.abs().max() > 32


@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_gated_decoding_gives_what_passes_of_all(sam2, embedding, share, multimask, monkeypatch):
    monkeypatch.setattr("samgeo.models.sam1.base.DECODE_BYTES", 4 * 8.3 * 16**2 * 32 * 4)  # four prompts at once
    given = prompts("points", 11)
    logits, predicted = sam2.decode(embedding, **given, multimask=multimask)
    min_iou = float(np.quantile(predicted, share))
    prompt, token, painted, scores = sam2.decode_gated(embedding, **given, min_iou=min_iou, multimask=multimask)
    expected = (predicted > min_iou).nonzero().numpy()
    np.testing.assert_array_equal(np.stack([prompt, token], axis=1), expected)
    assert painted.shape == (len(expected), 64, 64)
    torch.testing.assert_close(painted, logits[prompt, token], rtol=0, atol=1e-4)
    np.testing.assert_array_equal(scores, predicted[prompt, token].numpy())


def test_gated_decoding_draws_only_what_may_pass(sam2, embedding, monkeypatch):
    drawn = []
    paint = sam2.network.mask_decoder.paint
    monkeypatch.setattr(sam2.network.mask_decoder, "paint", lambda *given: drawn.append(len(given[0])) or paint(*given))
    given = prompts("points", 11)
    _, predicted = sam2.decode(embedding, **given)
    drawn.clear()
    min_iou = float(predicted.amax(dim=1).median())
    sam2.decode_gated(embedding, **given, min_iou=min_iou)
    assert sum(drawn) == 5


def test_a_batch_is_answered_as_its_members_alone(sam2, monkeypatch):
    pixels = images(3)
    together = sam2.embed(pixels)
    for i in range(3):
        torch.testing.assert_close(maps_of(together[i]), maps_of(sam2.embed(pixels[i : i + 1])), rtol=0, atol=1e-5)
    given = prompts("points", 5)
    whole = sam2.decode(together[2], **given)
    monkeypatch.setattr("samgeo.models.sam1.base.DECODE_BYTES", 1)
    monkeypatch.setattr("samgeo.models.sam1.base.ENCODE_BYTES", 1)
    torch.testing.assert_close(sam2.decode(sam2.embed(pixels)[2], **given), whole, rtol=0, atol=1e-3)


def test_what_lies_in_the_padding_does_not_matter(sam2):
    pixels, sizes = images(2), np.array([[160, SIDE], [SIDE, 97]])
    blank = pixels.copy()
    for image, (height, width) in zip(blank, sizes, strict=True):
        image[height:] = 0
        image[:, width:] = 255
    embedded = (maps_of(sam2.embed(*given)) for given in ((pixels, sizes), (blank, sizes), (pixels,)))
    for one, other, unpadded in zip(*embedded, strict=True):
        assert torch.equal(one, other)
        assert not torch.equal(one, unpadded)


def test_an_embedding_is_stored_in_half_precision_and_decodes_the_same_to_the_bit(sam2):
    embedding = sam2.embed(images(2))[1]
    arrays = pack(sam2, embedding)
    assert {name: (array.shape, str(array.dtype)) for name, array in arrays.items()} == {
        "features": ((32, 16, 16), "float16"),
        "s1": ((8, 32, 32), "float16"),
        "s0": ((4, 64, 64), "float16"),
    }
    assert nbytes(embedding) == 2 * sum(array.nbytes for array in arrays.values())
    stored, new = unpack(sam2, arrays), rounded(sam2, embedding)
    copied = pickle.loads(pickle.dumps(new))  # noqa: S301 - made here
    for one, other, third in zip(maps_of(stored), maps_of(new), maps_of(copied), strict=True):
        assert torch.equal(one, other)
        assert torch.equal(one, third)
    given = prompts("points boxes", 4)
    answer = sam2.decode(new, **given)
    for other in (stored, copied):
        assert all(torch.equal(*both) for both in zip(sam2.decode(other, **given), answer, strict=True))


def test_a_model_is_sent_to_other_processes(sam2, embedding):
    copy = pickle.loads(pickle.dumps(sam2))  # noqa: S301 - made here
    assert (copy.name, copy.digest, copy.input_size) == (sam2.name, sam2.digest, sam2.input_size)
    given = prompts("points", 2)
    assert torch.equal(copy.decode(embedding, **given)[0], sam2.decode(embedding, **given)[0])


def test_it_fits_the_protocols(sam2):
    for protocol in (Segmenter, Gating, Describing, Pyramidal, Guiding):
        assert isinstance(sam2, protocol)
    assert default_gates(sam2) == Gates(pred_iou=0.8)


def test_features_and_their_pyramid(sam2, embedding):
    features, pyramid = sam2.features(embedding), sam2.pyramid(embedding)
    assert features.shape == (16, 16, 32)
    assert [tuple(one.shape) for one in pyramid] == [(1, 16, 16, 32), (1, 32, 32, 8), (1, 64, 64, 4)]
    np.testing.assert_array_equal(pyramid[0][0].numpy(), features)
    np.testing.assert_array_equal(features[3, 5], embedding.features[0, :, 3, 5].numpy())
    np.testing.assert_array_equal(pyramid[2][0, 7, 9].numpy(), embedding.s0[0, :, 7, 9].numpy())


def test_a_guide_moves_the_answers(sam2, embedding):
    given = prompts("points", 2)
    bias = np.zeros((16, 16), np.float32)
    free, _ = sam2.decode_guided(embedding, **given, bias=bias, target=np.zeros(32, np.float32))
    moved, _ = sam2.decode_guided(embedding, **given, bias=bias, target=sam2.features(embedding)[4, 4])
    bias[:4] = 1
    seen, _ = sam2.decode_guided(embedding, **given, bias=bias, target=np.zeros(32, np.float32))
    assert free.shape == (2, 1, 64, 64)
    assert (free != moved).any()
    assert (free != seen).any()
    with pytest.raises(OptionError, match=r"bias of shape \(8, 8\)"):
        sam2.decode_guided(embedding, **given, bias=np.zeros((8, 8)), target=np.zeros(32))


def test_bfloat16_paints_the_masks_of_float32(folder, sam2):
    model, pixels, given = load(folder, dtype=torch.bfloat16), images(1), prompts("boxes", 16)
    truth, scores = sam2.decode(sam2.embed(pixels)[0], **given)
    logits, predicted = model.decode(model.embed(pixels)[0], **given)
    assert logits.dtype == predicted.dtype == torch.float32
    assert (logits - truth).abs().mean() < 0.1 * truth.flatten(2).std(-1).mean()
    torch.testing.assert_close(predicted, scores, rtol=0, atol=0.02)


def test_the_digest_names_what_changes_the_results(folder, sam2):
    assert sam2.digest.endswith("-256px")
    digest = sam2.digest.removesuffix("-256px")
    assert load(folder, 1024).digest == digest
    assert load(folder, 512, torch.bfloat16).digest == f"{digest}-512px-bfloat16"


def test_windows_and_embeddings_that_do_not_fit_are_refused(sam2, embedding, folder):
    with pytest.raises(OptionError, match=r"\(B, 256, 256, 3\)"):
        sam2.embed(images(1, 128))
    boxes = {"boxes": np.zeros((1, 4), np.float32)}
    for foreign in (Embedding(embedding.features), load(folder, 128).embed(images(1, 128))):
        with pytest.raises(OptionError, match="another model"):
            sam2.decode(foreign, **boxes)
    with pytest.raises(OptionError, match="one window"):
        sam2.object_scores(sam2.embed(images(2)), **boxes)
    with pytest.raises(OptionError, match="there is no prompt"):
        sam2.decode(embedding)


def plain_automatic(oracle, maps, points, gates):
    """Automatic masks of one image with transformers, full frames and greedy loops: (prompt, IoU, stability, mask)."""
    given = {"points": points[:, None].astype(np.float32), "labels": np.ones((len(points), 1), np.float32)}
    logits, predicted, _ = reference(oracle, maps, given, multimask=True)
    frames = F.interpolate(logits, (SIDE, SIDE), mode="bilinear", align_corners=False).numpy()
    found = []
    for prompt, token in np.argwhere((predicted > gates.pred_iou).numpy()):
        frame = frames[prompt, token]
        strict, loose = ((frame > offset).sum() for offset in (gates.stability_offset, -gates.stability_offset))
        if (frame > 0).any() and strict >= gates.stability * loose:
            found.append((int(prompt), float(predicted[prompt, token]), strict / loose, frame > 0))
    kept = []
    for one in sorted(found, key=lambda one: (-one[1], one[0])):
        if all((one[3] & other[3]).sum() <= gates.mask_nms * (one[3] | other[3]).sum() for other in kept):
            kept.append(one)
    return len(found), kept


def test_automatic_masks_are_those_of_the_reference_procedure_record_for_record(sam2, oracle):
    (image,) = images(1)
    along = (np.arange(8) + 0.5) * SIDE / 8
    points = np.stack(np.meshgrid(along, along), axis=-1).reshape(-1, 2)
    embedding = embed_window(sam2, image, (SIDE, SIDE))
    _, predicted = sam2.decode(embedding, points=points[:, None], labels=np.ones((64, 1)))
    # Random weights draw noise over the whole window, so that all boxes are the window, and only masks can differ.
    gates = Gates(pred_iou=float(np.quantile(predicted, 0.5)), stability=0.1, box_nms=1.0, mask_nms=0.99)
    passing, expected = plain_automatic(oracle, maps_of(embedding), points, gates)
    assert 3 < len(expected) < passing < (predicted > gates.pred_iou).sum()
    found = automatic_masks(sam2, embedding, points, gates=gates, window=SIDE, size=(SIDE, SIDE))
    assert [one.prompt for one in found] == [prompt for prompt, *_ in expected]
    for one, (_, iou, stability, mask) in zip(found, expected, strict=True):
        assert one.predicted_iou == pytest.approx(iou, abs=1e-5)
        assert one.stability_score == pytest.approx(stability, abs=1e-3)
        differing = one.mask.to_array(Rect(0, 0, SIDE, SIDE)) != mask
        assert differing.sum() <= 3  # logits that are zero to rounding


@pytest.fixture(scope="module")
def raster():
    """Bright squares on a dark ground, one and a half windows wide."""
    pixels = np.full((SIDE, 384, 3), 40, np.uint8)
    for x in range(20, 340, 80):
        pixels[60:100, x : x + 40] = 200
    return pixels


def test_segment_takes_the_model(sam2, raster):
    options = {"overlap": 128, "points_per_side": 2, "pred_iou": 0.4, "stability": 0.1, "progress": False, "workers": 1}
    found = samgeo.segment(raster, model=sam2, **options)
    assert len(found) > 0
    assert found.is_valid.all()
    assert ((found.predicted_iou > 0.4) & (found.predicted_iou <= 1)).all()


@pytest.mark.parametrize("refine", [0, 1])
def test_predictor_takes_the_model(sam2, raster, refine):
    found = samgeo.Predictor(raster, model=sam2).predict(boxes=[[20, 60, 60, 100], [260, 60, 300, 100]], refine=refine)
    assert len(found) == 2
    assert found.is_valid.all()
