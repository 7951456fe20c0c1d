"""Our SAM 1 answers what transformers' SamModel answers, to float rounding, whichever layout its weights come in."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from sam_oracle import official_state, random_sam

from samgeo.errors import OptionError
from samgeo.models.preprocessing import normalise
from samgeo.models.protocols import Segmenter
from samgeo.models.sam1.checkpoint import build_network, load_checkpoint, save_checkpoint
from samgeo.models.sam1.model import Embedding, Sam

CLOSE = {"rtol": 0, "atol": 1e-4}
SHAPES = {
    "windows that do not divide the grid": {"window": 3, "global_blocks": (1,)},
    "windows larger than the grid": {"window": 7, "global_blocks": (0, 2)},
    "windows of the grid": {"window": 4},
    "every block global": {"global_blocks": (0, 1, 2)},
    "no block global": {"global_blocks": ()},
    "a larger image": {"image_size": 128, "hidden": 48, "heads": 3, "layers": 4, "window": 5, "width": 64},
    "a deeper IoU head": {"iou_depth": 4, "layers": 2},
    "no relative positions": {"relative": False},
}
LAYOUTS = ("official", "hugging face", "own")


def saved(oracle, layout, folder):
    """Write the weights of a transformers SamModel in a layout; return the file."""
    path = folder / "weights"
    if layout == "official":
        torch.save(official_state(oracle), path)
        if not oracle.config.vision_config.use_rel_pos:
            oracle.config.save_pretrained(folder)
        return path
    oracle.save_pretrained(folder)
    if layout == "own":
        save_checkpoint(build_network(load_checkpoint(folder)), path)
        (folder / "config.json").unlink()
        return path
    return folder


def load(path, dtype=torch.float32):
    checkpoint = load_checkpoint(path)
    return Sam(build_network(checkpoint), name="random", digest=checkpoint.digest, dtype=dtype)


@pytest.fixture(scope="module")
def oracle():
    return random_sam()


@pytest.fixture(scope="module")
def sam(oracle, tmp_path_factory):
    return load(saved(oracle, "hugging face", tmp_path_factory.mktemp("sam")))


def images(count, side, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def prompts(kind, count, model, seed=0):
    """Return random prompts in the coordinates of the protocol, for each of the words in ``kind``."""
    rng = np.random.default_rng(seed)
    side, low = model.input_size, model.input_size // 4
    every = {
        "points": {"points": rng.uniform(0, side, (count, 3, 2)), "labels": rng.integers(-1, 2, (count, 3))},
        "boxes": {"boxes": rng.uniform(0, side, (count, 4))},
        "masks": {"masks": rng.normal(0, 5, (count, low, low))},
    }
    return {name: np.float32(value) for word in kind.split() for name, value in every[word].items()}


def reference(oracle, features, given, multimask):
    """Ask transformers, which counts from pixel centres and takes one mask an image."""
    P = len(next(iter(given.values())))
    tensors = {name: torch.from_numpy(value) for name, value in given.items()}
    logits, scores = [], []
    with torch.inference_mode():
        for i in range(P):
            one = {name: value[i : i + 1] for name, value in tensors.items()}
            out = oracle(
                image_embeddings=features,
                input_points=one["points"][None] - 0.5 if "points" in one else None,
                input_labels=one["labels"][None] if "labels" in one else None,
                input_boxes=one["boxes"][None] - 0.5 if "boxes" in one else None,
                input_masks=one["masks"][None] if "masks" in one else None,
                multimask_output=multimask,
            )
            logits.append(out.pred_masks[0])
            scores.append(out.iou_scores[0])
    return torch.cat(logits), torch.cat(scores)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_answers_what_transformers_answers(shape, layout, tmp_path):
    oracle = random_sam(**SHAPES[shape])
    model = load(saved(oracle, layout, tmp_path))
    pixels = images(2, model.input_size)
    embedding = model.embed(pixels)
    with torch.inference_mode():
        features = oracle.get_image_embeddings(normalise(torch.from_numpy(pixels)))
    torch.testing.assert_close(embedding.features, features, **CLOSE)
    assert features.abs().max() > 0.5
    given = prompts("points boxes", 4, model)
    answer, truth = model.decode(embedding[1], **given), reference(oracle, features[1:], given, multimask=True)
    torch.testing.assert_close(answer, truth, **CLOSE)
    assert truth[0].abs().max() > 0.5


@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize("kind", ["points", "boxes", "points boxes", "points masks", "boxes masks", "points boxes masks"])
def test_every_kind_of_prompt_answers_what_transformers_answers(oracle, sam, kind, multimask):
    embedding = sam.embed(images(1, sam.input_size))[0]
    given = prompts(kind, 5, sam)
    answer = sam.decode(embedding, **given, multimask=multimask)
    torch.testing.assert_close(answer, reference(oracle, embedding.features, given, multimask), **CLOSE)
    assert answer[0].shape == (5, 3 if multimask else 1, 16, 16)
    assert answer[1].shape == (5, 3 if multimask else 1)


def test_a_mask_alone_is_a_prompt_without_tokens(sam):
    """transformers asks for a point or a box too; a padding token alone is the nearest that it has, and is not the same."""
    embedding = sam.embed(images(1, sam.input_size))[0]
    masks = prompts("masks", 2, sam)["masks"]
    alone, _ = sam.decode(embedding, masks=masks)
    padded, _ = sam.decode(embedding, masks=masks, points=np.zeros((2, 1, 2)), labels=-np.ones((2, 1)))
    assert alone.shape == padded.shape == (2, 3, 16, 16)
    assert (alone[0] != alone[1]).any()
    assert (alone != padded).any()


def test_a_box_is_the_same_with_a_padding_point(sam, oracle):
    """Points beside a box are not padded any further, so a padding point there is a token more."""
    embedding = sam.embed(images(1, sam.input_size))[0]
    given = {**prompts("boxes", 2, sam), "points": np.zeros((2, 1, 2), np.float32), "labels": -np.ones((2, 1), np.float32)}
    answer = sam.decode(embedding, **given)
    torch.testing.assert_close(answer, reference(oracle, embedding.features, given, multimask=True), **CLOSE)


def test_a_batch_answers_what_its_members_answer_alone(sam, monkeypatch):
    pixels = images(3, sam.input_size)
    together = sam.embed(pixels)
    assert len(together) == 3
    for i in range(3):
        torch.testing.assert_close(together[i].features, sam.embed(pixels[i : i + 1]).features, rtol=0, atol=1e-5)
    given = prompts("points", 7, sam)
    whole = sam.decode(together[0], **given)
    for i in range(7):
        alone = sam.decode(together[0], **{name: value[i : i + 1] for name, value in given.items()})
        torch.testing.assert_close([part[i : i + 1] for part in whole], list(alone), rtol=0, atol=1e-5)
    monkeypatch.setattr("samgeo.models.sam1.base.DECODE_BYTES", 1)
    torch.testing.assert_close(sam.decode(together[0], **given), whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_gated_decoding_gives_what_passes_of_all(sam, share, multimask, monkeypatch):
    monkeypatch.setattr("samgeo.models.sam1.base.DECODE_BYTES", 3 * 8.3 * 16 * 32 * 4)  # three prompts at once
    embedding, given = sam.embed(images(1, sam.input_size))[0], prompts("points", 11, sam)
    logits, predicted = sam.decode(embedding, **given, multimask=multimask)
    min_iou = float(np.quantile(predicted, share))
    prompt, token, painted, scores = sam.decode_gated(embedding, **given, min_iou=min_iou, multimask=multimask)
    expected = (predicted > min_iou).nonzero().numpy()
    np.testing.assert_array_equal(np.stack([prompt, token], axis=1), expected)
    assert painted.shape == (len(expected), 16, 16)
    torch.testing.assert_close(painted, logits[prompt, token], rtol=0, atol=1e-5)
    np.testing.assert_array_equal(scores, predicted[prompt, token].numpy())


def test_what_lies_in_the_padding_does_not_matter(sam):
    pixels, sizes = images(2, sam.input_size), np.array([[40, 64], [64, 23]])
    blank = pixels.copy()
    for image, (height, width) in zip(blank, sizes, strict=True):
        image[height:] = 0
        image[:, width:] = 255
    assert torch.equal(sam.embed(pixels, sizes).features, sam.embed(blank, sizes).features)
    assert not torch.equal(sam.embed(pixels, sizes).features, sam.embed(pixels).features)


def test_no_prompts_have_no_masks(sam):
    embedding = sam.embed(images(1, sam.input_size))[0]
    logits, predicted = sam.decode(embedding, points=np.zeros((0, 1, 2)), labels=np.zeros((0, 1)))
    assert logits.shape == (0, 3, 16, 16)
    assert predicted.shape == (0, 3)


def test_threads_get_what_one_caller_gets(sam):
    pixels = images(4, sam.input_size)
    given = prompts("points", 3, sam)

    def ask(i):
        return sam.decode(sam.embed(pixels[i : i + 1])[0], **given)[0]

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(ask, [0, 1, 2, 3] * 3))
    for i, answer in enumerate(answers):
        assert torch.equal(answer, ask(i % 4))


def test_bfloat16_paints_the_masks_of_float32(tmp_path):
    path = saved(random_sam(image_size=128, hidden=64, heads=2, layers=4, width=64), "hugging face", tmp_path)
    exact, rounded = load(path), load(path, torch.bfloat16)
    pixels, given = images(1, 128), prompts("boxes", 16, exact)
    truth, scores = exact.decode(exact.embed(pixels)[0], **given)
    logits, rounded_scores = rounded.decode(rounded.embed(pixels)[0], **given)
    assert logits.dtype == rounded_scores.dtype == torch.float32
    spread = truth.flatten(2).std(-1).mean()
    assert (logits - truth).abs().mean() < 0.03 * spread
    # Random weights paint noise, all of it above 0 or below: cut each mask at its own median, where it is no close call.
    level = truth.flatten(2).median(-1).values[..., None, None]
    clear = (truth - level).abs() > 0.1 * spread
    a, b = (truth > level) & clear, (logits > level) & clear
    assert (a & b).sum() / (a | b).sum() >= 0.98
    torch.testing.assert_close(rounded_scores, scores, rtol=0, atol=0.05)
    assert rounded.digest == f"{exact.digest}-bfloat16"


def test_bfloat16_tells_apart_prompts_that_it_would_round_together(tmp_path):
    model = load(saved(random_sam(image_size=128, width=64), "hugging face", tmp_path), torch.bfloat16)
    boxes = np.array([[64, 64, 120, 120], [64.125, 64.125, 120.125, 120.125]], np.float32)
    assert torch.equal(*torch.from_numpy(boxes).bfloat16())
    logits, _ = model.decode(model.embed(images(1, 128))[0], boxes=boxes)
    assert (logits[0] != logits[1]).any()


def test_an_embedding_outlives_its_device_and_type(sam):
    embedding = sam.embed(images(1, sam.input_size))[0]
    given = prompts("points", 2, sam)
    kept = Embedding(embedding.features.double())
    assert torch.equal(sam.decode(kept, **given)[0], sam.decode(embedding, **given)[0])
    with pytest.raises(IndexError):
        embedding[1]


def test_it_is_a_segmenter(sam):
    assert isinstance(sam, Segmenter)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "there is no prompt"),
        ({"points": np.zeros((1, 1, 2))}, "must be given together"),
        ({"labels": np.zeros((1, 1))}, "must be given together"),
        ({"points": np.zeros((1, 2)), "labels": np.zeros((1, 1))}, r"\(P, N, 2\)"),
        ({"points": np.zeros((2, 1, 2)), "labels": np.zeros((2, 2))}, r"labels have shape \(2, 2\) and points \(2, 1, 2\)"),
        ({"points": np.zeros((1, 1, 2)), "labels": np.full((1, 1), 2)}, "labels must be"),
        ({"points": np.full((1, 1, 2), np.nan), "labels": np.ones((1, 1))}, "not finite"),
        ({"boxes": np.zeros((2, 3))}, r"\(P, 4\)"),
        ({"boxes": np.zeros((2, 4)), "masks": np.zeros((3, 16, 16))}, "numbers of prompts differ"),
        ({"masks": np.zeros((1, 64, 64))}, r"\(P, 16, 16\)"),
    ],
)
def test_prompts_that_cannot_work_are_refused(sam, given, says):
    embedding = sam.embed(images(1, sam.input_size))[0]
    with pytest.raises(OptionError, match=says):
        sam.decode(embedding, **given)


def test_windows_and_embeddings_that_do_not_fit_are_refused(sam):
    with pytest.raises(OptionError, match=r"\(B, 64, 64, 3\)"):
        sam.embed(images(1, 32))
    with pytest.raises(OptionError, match="uint8"):
        sam.embed(np.zeros((1, 64, 64, 3), np.float32))
    for sizes in ([[0, 64]], [[64, 65]], [[64, 64], [64, 64]], [[1.5, 2.0]]):
        with pytest.raises(OptionError, match="sizes must be"):
            sam.embed(images(1, 64), np.array(sizes))
    with pytest.raises(OptionError, match="one window"):
        sam.decode(sam.embed(images(2, 64)), boxes=np.zeros((1, 4)))
    with pytest.raises(OptionError, match="another model"):
        sam.decode(Embedding(torch.zeros(1, 32, 8, 8)), boxes=np.zeros((1, 4)))
