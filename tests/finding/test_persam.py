"""PerSAM and PerSAM-F compute the published formulas, leave models as they are, and find many objects after one."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional

from samgeo.errors import OptionError, SamgeoError
from samgeo.finding.persam import Personalized, personalize, similarity_peaks
from samgeo.finding.persam.cascade import attention_bias, follow_persam, follow_persam_f
from samgeo.finding.persam.mask_weights import learn_mask_weights
from samgeo.finding.persam.similarity import Clicks, cells_of_mask, encode_image, similarity_map, target_feature
from samgeo.models import load_model
from samgeo.models.sam1.architecture import Architecture
from samgeo.models.sam1.attention import read_image
from samgeo.models.sam1.model import Sam, SamNetwork

ENCODER = {"width": 32, "depth": 1, "heads": 2, "mlp_width": 48, "global_blocks": (0,), "window": 0, "grid": 8}
DECODER = {"prompt_width": 32, "decoder_mlp_width": 48, "decoder_inner_width": 16, "iou_width": 24}
SIZES = Architecture(**ENCODER, **DECODER)
SIDE = SIZES.input_size


@pytest.fixture(scope="module")
def sam():
    """A SAM 1 of 128 pixels with random weights of useful size."""
    network = SamNetwork(SIZES)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in (*network.named_parameters(), *network.named_buffers()):
            parameter.normal_(std=0.2, generator=generator)
            if "norm" in name and name.endswith("weight"):
                parameter.add_(1)
    return Sam(network, name="random", digest="0")


@pytest.fixture(scope="module")
def tiny():
    return load_model("tiny", device="cpu")


def discs(shape, *centres, radius=14):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return np.any([np.hypot(rows - y, columns - x) < radius for y, x in centres], axis=0)


def picture(mask, seed=0):
    """Red objects on green ground, with a little noise."""
    colours = np.where(mask[..., None], (230, 60, 40), (60, 120, 60))
    return np.clip(colours + np.random.default_rng(seed).normal(0, 6, colours.shape), 0, 255).astype(np.uint8)


REFERENCE = discs((100, 128), (45, 60), radius=30)


def plain_attention(layers, query, key, value, bias=None):
    """Attention as it is written in the papers: a projection of everything, two softmaxes where there is a bias."""
    q, k, v = (
        layer(x).unflatten(-1, (layers.heads, -1)).transpose(1, 2)
        for layer, x in ((layers.q_proj, query), (layers.k_proj, key), (layers.v_proj, value))
    )
    attention = torch.softmax(q @ k.transpose(2, 3) / q.shape[-1] ** 0.5, dim=-1)
    if bias is not None:
        attention = torch.softmax(attention + bias, dim=-1)
    return layers.out_proj((attention @ v).transpose(1, 2).flatten(2))


def plain_transformer(transformer, image, positions, tokens, bias=None, target=0.0):
    """The two-way transformer as it is published, with PerSAM's target added in place as its code does."""
    place, queries, keys = tokens + target, tokens + target, image
    for index, layer in enumerate(transformer.layers):
        if index == 0:
            queries = plain_attention(layer.self_attn, queries, queries, queries)
        else:
            queries = queries + target
            queries = queries + plain_attention(layer.self_attn, queries + place, queries + place, queries)
        queries = layer.norm1(queries)
        read = plain_attention(layer.cross_attn_token_to_image, queries + place, keys + positions, keys, bias)
        queries = layer.norm2(queries + read)
        queries = layer.norm3(queries + layer.mlp(queries))
        back = plain_attention(layer.cross_attn_image_to_token, keys + positions, queries + place, queries)
        keys = layer.norm4(keys + back)
    last = plain_attention(transformer.final_attn_token_to_image, queries + place + target, keys + positions, keys)
    return transformer.norm_final_attn(queries + last), keys


def plain_decode(sam, embedding, points, labels, bias=None, target=0.0):
    """Masks and predicted IoU of every mask token by plain layers, for points with the padding point after them."""
    prompts, decoder = sam.network.prompt_encoder, sam.network.mask_decoder
    given = torch.tensor(points / SIDE)
    types = [prompts.point_embeddings[kind].weight for kind in (0, 1)]
    typed = torch.stack([torch.cat([types[int(kind)] for kind in row]) for row in labels])
    encoded = prompts.pe_layer(given) + typed
    padding = prompts.not_a_point_embed.weight.expand(len(points), 1, -1)
    own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight]).expand(len(points), -1, -1)
    tokens = torch.cat([own, encoded, padding], dim=1)
    image = (embedding.features + prompts.no_mask_embed.weight[..., None, None]).flatten(2).transpose(1, 2)
    image = image.expand(len(points), -1, -1)
    hidden, cells = plain_transformer(decoder.transformer, image, prompts.grid_positions(), tokens, bias, target)
    fine = decoder.output_upscaling(cells.transpose(1, 2).unflatten(2, (SIZES.grid, SIZES.grid)))
    heads = torch.stack([head(hidden[:, 1 + i]) for i, head in enumerate(decoder.output_hypernetworks_mlps)], dim=1)
    return torch.einsum("pmc,pchw->pmhw", heads, fine), decoder.iou_prediction_head(hidden[:, 0])


@torch.inference_mode()
def test_the_guided_decoder_is_the_published_formula(sam):
    rng = np.random.default_rng(1)
    embedding = sam.embed(rng.integers(0, 256, (1, SIDE, SIDE, 3), dtype=np.uint8))[0]
    points, labels = np.float32(rng.uniform(0, SIDE, (3, 2, 2))), np.array([[1, 0]] * 3)
    bias, target = np.float32(rng.uniform(0, 1, (8, 8))), np.float32(rng.normal(0, 1, 32))
    guided = {"bias": torch.tensor(bias).flatten(), "target": torch.tensor(target)}
    logits, scores = plain_decode(sam, embedding, points, labels, **guided)
    for multimask, kept in ((True, slice(1, None)), (False, slice(1))):
        found = sam.decode_guided(embedding, points=points, labels=labels, bias=bias, target=target, multimask=multimask)
        torch.testing.assert_close(found, (logits[:, kept], scores[:, kept]), rtol=0, atol=1e-5)
    plain, _ = sam.decode(embedding, points=points, labels=labels)
    torch.testing.assert_close(plain, plain_decode(sam, embedding, points, labels)[0][:, 1:], rtol=0, atol=1e-5)
    unbiased, _ = plain_decode(sam, embedding, points, labels, target=guided["target"])
    assert (logits[:, 1:] - plain).abs().max() > 0.1
    assert (logits - unbiased).abs().max() > 0.01


@torch.inference_mode()
def test_without_guidance_the_decoder_computes_what_it_did(sam):
    """The operations of the decoder without guidance, written out, give the same up to the order of sums."""
    transformer = sam.network.mask_decoder.transformer
    of = transformer.final_attn_token_to_image.projections
    generator = torch.Generator().manual_seed(2)
    tokens, cells = (torch.randn(2, n, 32, generator=generator) for n in (7, 64))
    positions = torch.randn(64, 32, generator=generator)
    query = of.split(of.query(tokens))
    absorbed = (query @ (of.weight(of.key) * query.shape[-1] ** -0.5)).flatten(1, 2)
    scores = torch.baddbmm(absorbed @ positions.T, absorbed, cells.transpose(1, 2))
    pooled = (torch.softmax(scores, dim=-1) @ cells).view(2, of.heads, -1, 32)
    read = pooled @ of.weight(of.value).transpose(1, 2) + of.value.bias.view(of.heads, 1, -1)
    expected = of.output(read.transpose(1, 2).flatten(2))
    torch.testing.assert_close(read_image(of, tokens, cells, positions), expected, rtol=0, atol=1e-5)
    for image in (cells, cells[:1]):
        queries, keys = tokens, image
        for layer in transformer.layers:
            queries, keys = layer(queries, keys, tokens, positions)
        queries = transformer.norm_final_attn(queries + read_image(of, queries + tokens, keys, positions))
        found = transformer(image, positions, tokens)
        assert torch.equal(found[0], queries)
        assert torch.equal(found[1], keys)


def test_guidance_of_another_shape_is_refused(sam):
    embedding = sam.embed(np.zeros((1, SIDE, SIDE, 3), np.uint8))[0]
    given = {"points": np.zeros((1, 1, 2)), "labels": np.ones((1, 1)), "bias": np.zeros((8, 8)), "target": np.zeros(32)}
    for name, wrong in (("bias", np.zeros((4, 4))), ("target", np.zeros(31)), ("target", np.full(32, np.nan))):
        with pytest.raises(OptionError, match=f"{name} of shape"):
            sam.decode_guided(embedding, **given | {name: wrong})


def enlarge(grid, *, shape):
    """Bilinear interpolation of a map to a shape, written with NumPy."""

    def axis(count, length):
        place = np.clip((np.arange(length) + 0.5) * count / length - 0.5, 0, count - 1)
        low = np.minimum(place.astype(int), count - 1)
        high = np.minimum(low + 1, count - 1)
        weights = np.zeros((length, count))
        np.add.at(weights, (np.arange(length), low), 1 - (place - low))
        np.add.at(weights, (np.arange(length), high), place - low)
        return weights

    return axis(grid.shape[0], shape[0]) @ grid @ axis(grid.shape[1], shape[1]).T


def test_similarity_and_guidance_are_the_published_formulas(sam):
    encoded = encode_image(sam, picture(REFERENCE))
    assert encoded.fitted == (100, 128)
    cells = np.zeros((8, 8), bool)
    cells[2:4, 3:5] = True
    features = encoded.features.astype(float)
    inside = features[2:4, 3:5].reshape(-1, 32)
    targets = {False: inside.mean(0), True: (inside.max(0) + inside.mean(0)) / 2}
    for with_maximum, target in targets.items():
        found = target_feature(encoded.features, cells, with_maximum=with_maximum)
        np.testing.assert_allclose(found, target, atol=1e-6)
        cosine = features @ target / np.linalg.norm(features, axis=2) / np.linalg.norm(target)
        whole = enlarge(enlarge(cosine, shape=(32, 32)), shape=(SIDE, SIDE))[:100]
        np.testing.assert_allclose(similarity_map(encoded, found), whole, atol=1e-5)
    standard = (whole - whole.mean()) / whole.std(ddof=1)
    bias = attention_bias(np.float32(whole), 8)
    np.testing.assert_allclose(bias, 1 / (1 + np.exp(-enlarge_by_samples(standard, 8))), atol=1e-5)
    assert (attention_bias(np.ones((9, 9), np.float32), 4) == 0.5).all()


def enlarge_by_samples(values, side):
    """Reduce a map as torch does without antialiasing: the samples next to each cell's centre alone."""
    return enlarge(values, shape=(side, side))


def test_a_cell_counts_by_the_four_pixels_of_its_middle(sam):
    encoded = encode_image(sam, np.zeros((96, SIDE, 3), np.uint8))
    mask = np.zeros((96, SIDE), bool)
    mask[7:9, 7] = True  # half of the middle of cell (0, 0)
    mask[23, 23:25] = mask[24, 23] = True  # three quarters of that of (1, 1)
    mask[39:41, 39:41] = True  # all of that of (2, 2)
    mask[48, 48] = True  # a corner of (3, 3)
    found = {level: np.argwhere(cells_of_mask(mask, encoded, mask_level=level)).tolist() for level in (255, 128)}
    assert found == {255: [[0, 0], [1, 1], [2, 2]], 128: [[2, 2]]}
    assert (cells_of_mask(mask * 7, encoded) == cells_of_mask(mask, encoded)).all()
    assert not cells_of_mask(np.ones((96, SIDE), bool), encoded)[6:].any()  # padding


def dense(logits, encoded):
    """SAM's masks of logits in pixels of the image, on whole frames."""
    whole = functional.interpolate(logits[None], (SIDE, SIDE), mode="bilinear", align_corners=False)
    whole = whole[..., : encoded.fitted[0], : encoded.fitted[1]]
    return functional.interpolate(whole, encoded.shape, mode="bilinear", align_corners=False)[0]


def box_of(logits, encoded):
    """The corners of a mask's box in the model's input, as the published code scales them."""
    y, x = np.nonzero(dense(logits[None], encoded)[0].numpy() > 0)
    scale = np.array([encoded.fitted[1] / encoded.shape[1], encoded.fitted[0] / encoded.shape[0]] * 2)
    return np.float32(np.array([[x.min(), y.min(), x.max(), y.max()]]) * scale + 0.5)


def pixel(point, encoded):
    """A pixel's index in the model's input."""
    return np.float32([point[0] * encoded.fitted[1] / encoded.shape[1], point[1] * encoded.fitted[0] / encoded.shape[0]]) + 0.5


def ends(similarity):
    """The most and the least similar pixel, as x and y."""
    places = (np.unravel_index(end(similarity), similarity.shape)[::-1] for end in (np.argmax, np.argmin))
    return [np.array(place) for place in places]


SHAPES = [(128, 128), (100, 128), (150, 90)]


@pytest.mark.parametrize("shape", SHAPES)
def test_persam_is_the_published_cascade(sam, shape):
    reds = personalize(sam, picture(REFERENCE), REFERENCE)
    image = picture(discs(shape, (shape[0] // 2, shape[1] // 3)), seed=3)
    encoded = reds.encode(image)
    similarity = reds.similarity(encoded)
    best, worst = ends(similarity)
    prompt = {"points": np.stack([pixel(best, encoded), pixel(worst, encoded)])[None], "labels": np.array([[1, 0]])}
    first, _ = sam.decode_guided(encoded.embedding, **prompt, bias=attention_bias(similarity, 8), target=reds.target)
    second, scores = sam.decode(encoded.embedding, **prompt, masks=first[:, 0].numpy())
    chosen = second[0, scores[0].argmax()]
    third, scores = sam.decode(encoded.embedding, **prompt, masks=chosen[None].numpy(), boxes=box_of(chosen, encoded))
    number = int(scores[0].argmax())

    passes = follow_persam(sam, encoded, similarity_peaks(similarity), similarity=similarity, target=reds.target)
    for found, truth in zip(passes, (first[0, 0], chosen, third[0, number]), strict=True):
        torch.testing.assert_close(found.logits[0], truth, rtol=0, atol=1e-5)
    masks, found_scores = reds.segment(image)
    assert masks.shape == (1, *shape)
    assert (masks[0] == (dense(third[0, number : number + 1], encoded)[0] > 0).numpy()).all()
    assert found_scores.tolist() == pytest.approx([float(scores[0, number])], abs=1e-6)
    assert masks.any()


@pytest.mark.parametrize("shape", SHAPES)
def test_persam_f_is_the_published_cascade(sam, shape):
    reds = personalize(sam, picture(REFERENCE), REFERENCE, learn_weights=True, steps=20)
    assert reds.weights.sum() == pytest.approx(1, abs=1e-6)
    image = picture(discs(shape, (shape[0] // 2, shape[1] // 3)), seed=4)
    encoded = reds.encode(image)
    similarity = reds.similarity(encoded)
    prompt = {"points": pixel(ends(similarity)[0], encoded)[None, None], "labels": np.array([[1]])}
    logits, _ = sam.decode(encoded.embedding, **prompt)
    chosen = sum(weight * one for weight, one in zip(reds.weights, logits[0], strict=True))
    wanted = [chosen]
    for _ in range(2):
        logits, scores = sam.decode(encoded.embedding, **prompt, masks=chosen[None].numpy(), boxes=box_of(chosen, encoded))
        chosen = logits[0, scores[0].argmax()]
        wanted.append(chosen)
    passes = follow_persam_f(sam, encoded, similarity_peaks(similarity), reds.weights)
    for found, truth in zip(passes, wanted, strict=True):
        torch.testing.assert_close(found.logits[0], truth, rtol=0, atol=1e-5)


def test_weights_are_learned_as_published():
    """Against AdamW and the cosine schedule written with NumPy, with gradients by finite differences."""
    rng = np.random.default_rng(5)
    candidates, truth = rng.normal(0, 3, (3, 12, 15)), rng.random((12, 15)) < 0.3

    def loss(free):
        logits = np.tensordot(np.r_[1 - free.sum(), free], candidates, 1)
        shares = 1 / (1 + np.exp(-logits))
        right = np.where(truth, shares, 1 - shares)
        dice = 1 - (2 * shares[truth].sum() + 1) / (shares.sum() + truth.sum() + 1)
        return dice + (np.where(truth, 0.25, 0.75) * (1 - right) ** 2 * -np.log(right)).mean()

    free, mean, square, steps = np.full(2, 1 / 3), np.zeros(2), np.zeros(2), 40
    for step in range(steps):
        rate = 0.01 * (1 + np.cos(np.pi * step / steps)) / 2
        gradient = np.array([(loss(free + h) - loss(free - h)) / 2e-5 for h in np.eye(2) * 1e-5])
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
        free = free * (1 - rate * 0.01)
        free = free - rate * (mean / (1 - 0.9 ** (step + 1))) / (np.sqrt(square / (1 - 0.999 ** (step + 1))) + 1e-4)
    found = learn_mask_weights(torch.tensor(candidates, dtype=torch.float32), truth, steps=steps, learning_rate=0.01)
    np.testing.assert_allclose(found, np.r_[1 - free.sum(), free], atol=1e-4)
    assert abs(found - 1 / 3).max() > 0.05


@pytest.mark.parametrize("right", [0, 1, 2])
def test_the_candidate_that_fits_gets_the_largest_weight(right):
    masks = np.stack([discs((40, 40), (20, 20), radius=radius) for radius in (5, 9, 14)])
    found = learn_mask_weights(torch.tensor(np.where(masks, 4.0, -4.0), dtype=torch.float32), masks[right], steps=300)
    assert found.argmax() == right
    assert found[right] > 0.45
    untrained = learn_mask_weights(torch.zeros(3, 4, 4), masks[0][:4, :4], steps=0)
    np.testing.assert_allclose(untrained, 1 / 3, rtol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_peaks_are_the_highest_places_around_them(seed):
    rng = np.random.default_rng(seed)
    similarity = np.float32(rng.integers(-8, 9, (23, 31)) / 8)  # with many equal values
    valid = rng.random(similarity.shape) < 0.8
    clicks = similarity_peaks(similarity, count=1000, min_distance_px=2, min_similarity=0.1, valid=valid)
    allowed = np.where(valid, similarity, -9)
    places = (clicks.points_px - 0.5).astype(int)
    assert similarity_peaks(similarity, valid=valid).similarity[0] == clicks.similarity[0] == allowed.max()
    assert (np.diff(clicks.similarity) <= 0).all()
    for (x, y), value in zip(places, clicks.similarity, strict=True):
        around = allowed[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3]
        assert allowed[y, x] == value == around.max() >= 0.1
    apart = np.abs(places[:, None] - places).max(axis=2) + np.eye(len(places)) * 99
    assert apart.min() > 2
    x, y = (clicks.background_px - 0.5).astype(int)
    assert similarity[y, x] == similarity[valid].min()
    few = similarity_peaks(similarity, count=3, min_distance_px=2, min_similarity=0.1, valid=valid)
    assert (few.points_px == clicks.points_px[:3]).all()


def test_a_flat_map_has_peaks_as_far_apart_as_asked():
    clicks = similarity_peaks(np.zeros((10, 10), np.float32), count=100, min_distance_px=4)
    assert (clicks.points_px - 0.5).tolist() == [[0, 0], [5, 0], [0, 5], [5, 5]]
    assert not len(similarity_peaks(np.zeros((10, 10), np.float32), min_similarity=0.5).points_px)


CENTRES = [(60, 50), (70, 190), (180, 60), (200, 200), (130, 130)]


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


def test_many_objects_are_found_after_one(tiny):
    example = discs((256, 256), (120, 100))
    reds = personalize(tiny, picture(example), example, learn_weights=True, steps=50)
    scene = reds.encode(picture(discs((256, 256), *CENTRES), seed=6))
    likely = reds.similarity(scene)
    ground = ~discs((256, 256), *CENTRES, radius=20)
    clicks = reds.clicks(scene, count=40, min_distance_px=12, min_similarity=float(likely[ground].max()))
    masks, scores = reds.segment(scene, clicks)
    found = [max(iou(mask, discs((256, 256), centre)) for mask in masks) for centre in CENTRES]
    assert min(found) > 0.8
    assert len(masks) == len(CENTRES)
    assert (np.diff(scores) <= 0).all()


def test_clicks_are_answered_alike_alone_and_together(sam):
    reds = personalize(sam, picture(REFERENCE), REFERENCE)
    scene = reds.encode(picture(discs((128, 128), (40, 40), (90, 80))))
    clicks = reds.clicks(scene, count=4)
    similarity = reds.similarity(scene)
    assert len(clicks.points_px) > 1
    given = {"similarity": similarity, "target": reds.target}
    together = follow_persam(sam, scene, clicks, **given)[-1]
    for place, number in enumerate(together.click):
        one = Clicks(clicks.points_px[[number]], clicks.similarity[[number]], clicks.background_px)
        alone = follow_persam(sam, scene, one, **given)[-1]
        torch.testing.assert_close(together.logits[place], alone.logits[0], rtol=0, atol=1e-4)


class Blind:
    """A model whose masks are all empty."""

    name, digest, input_size = "blind", "0", 64

    def embed(self, images, sizes=None):
        return images

    def decode(self, embedding, *, points, multimask=True, **prompts):
        return -np.ones((len(points), 3 if multimask else 1, 16, 16), np.float32), np.ones((len(points), 3 if multimask else 1))

    def features(self, embedding):
        return np.ones((4, 4, 2), np.float32)


@pytest.mark.parametrize("options", [{"guided": False}, {"learn_weights": True, "steps": 1}])
def test_where_nothing_is_segmented_there_are_no_masks(options):
    whole = np.ones((64, 64), bool)
    nothing = personalize(Blind(), picture(whole), whole, **options)
    masks, scores = nothing.segment(picture(whole))
    assert (masks.shape, masks.dtype, scores.shape) == ((0, 64, 64), bool, (0,))
    none, _ = nothing.segment(picture(whole), nothing.clicks(picture(whole), min_similarity=1.5))
    assert none.shape == (0, 64, 64)


FEATURELESS = SimpleNamespace(name="a", digest="", input_size=9, embed=print, decode=print)
GOOD = SimpleNamespace(image=np.zeros((64, 64, 3), np.uint8), mask=discs((64, 64), (32, 32), radius=20))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"image": GOOD.image.astype(float)}, "must be uint8"),
        ({"image": GOOD.image[..., 0]}, "must be uint8"),
        ({"mask": GOOD.mask[1:]}, r"give bool or integers of the image's shape \(64, 64\)"),
        ({"mask": GOOD.mask.astype(float)}, "give bool or integers"),
        ({"mask": GOOD.mask & False}, "the mask is empty"),
        ({"mask": discs((64, 64), (0, 0), radius=1)}, "fills no cell .* cut the image closer"),
        ({"mask_level": 100}, "from 124 to 255"),
        ({"learn_weights": True, "steps": -1}, "steps is -1"),
        ({"learn_weights": True, "learning_rate": 0.0}, "learning_rate 0.0"),
        ({"model": Blind(), "guided": True}, "cannot be guided; take a SAM 1 model"),
        (
            {"model": SimpleNamespace(name="a", digest="", input_size=9, embed=print, decode=print), "guided": False},
            "no method feat",
        ),
        ({"model": "no-such-model"}, "no-such-model"),
    ],
)
def test_wrong_input_is_refused(sam, given, told):
    with pytest.raises(SamgeoError, match=told):
        personalize(**{"model": sam, "image": GOOD.image, "mask": GOOD.mask} | given)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"count": 0}, "count is 0"),
        ({"min_distance_px": -1.0}, "min_distance_px -1.0"),
        ({"valid": np.zeros((64, 64), bool)}, "with a true pixel"),
        ({"valid": np.ones((64, 63), bool)}, "give bool of shape"),
    ],
)
def test_wrong_options_of_clicks_are_refused(given, told):
    anything = Personalized(Blind(), np.ones(2, np.float32), None, guided=False)
    with pytest.raises(OptionError, match=told):
        anything.clicks(GOOD.image, **given)
    with pytest.raises(OptionError, match="max_iou is 2"):
        anything.segment(GOOD.image, max_iou=2)
    with pytest.raises(OptionError, match="channels"):
        Personalized(Blind(), np.ones(3, np.float32), None, guided=False).similarity(GOOD.image)
    with pytest.raises(OptionError, match="finite numbers"):
        similarity_peaks(np.full((3, 3), np.nan))
