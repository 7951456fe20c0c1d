"""Drawing of crops on the training device: as `samgeo.training.data.examples.draw`, but many crops at once, as tensors.

All pictures are held in the memory of the device: 3 bytes a pixel for the image and its reductions by 2, 4 and 8, and 5 bytes a
pixel for each layer of objects. A CPU core draws about ten crops a second, a GPU draws hundreds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Generator, Tensor

from samgeo.errors import OptionError
from samgeo.training.data.device_augmentation import augment_crops
from samgeo.training.data.examples import (
    LARGE_PX,
    MAX_EMPTY,
    MAX_SHARE,
    MIN_AREA_PX,
    ROTATED,
    SIZE_POWER,
    TURNING,
    Source,
)
from samgeo.training.data.pictures import Picture
from samgeo.training.data.simulated_prompts import JITTER, JITTER_LIMIT_PX, MIDDLE, NEAR
from samgeo.training.step import Crops

__all__ = ["DevicePictures", "draw_crops"]

# The picture itself, and its reductions by 2, 4 and 8.
LEVELS = 4
# More crops are drawn than needed, by this factor, because some hold no object.
SPARE = 1.3
DEEPEST_PX = 255


@dataclass(frozen=True, slots=True, eq=False)
class DevicePictures:
    """All pictures of some sources in flat tensors, and tables of the position of each picture in them.

    Attributes
    ----------
    pixels : tensor of uint8, shape (pixels, 3)
        The pixels of every level of every picture, row by row.
    ids : tensor of int32, shape (layer pixels,)
        The object ids of every layer of every picture.
    depth : tensor of uint8, shape (layer pixels,)
        Distance of each pixel to the nearest pixel outside its object, in pixels of the picture, at most 255.
    level_start, level_height, level_width : tensor of int64, shape (pictures, levels)
    layer_start : tensor of int64, shape (pictures, layers)
        Position of each layer in ``ids`` and ``depth``; -1 if a picture lacks a layer of its source.
    layer_share, layer_trust : tensor of float32, shape (pictures, layers)
    odds : tensor of float32, shape (pictures,)
        How often each picture is drawn.
    scales : tensor of float32, shape (pictures, 2)
    most_ids : int
        The highest object id plus 1.
    """

    pixels: Tensor
    ids: Tensor
    depth: Tensor
    level_start: Tensor
    level_height: Tensor
    level_width: Tensor
    layer_start: Tensor
    layer_share: Tensor
    layer_trust: Tensor
    odds: Tensor
    scales: Tensor
    most_ids: int

    @classmethod
    def of(cls, sources: Sequence[Source], device: torch.device, *, threads: int = 1) -> DevicePictures:
        """Copy the pictures to a device; ``threads`` is the number of threads that compute the depths."""
        pairs = [(source, picture) for source in sources for picture in source.pictures]
        with ThreadPoolExecutor(max(threads, 1)) as pool:
            layouts = list(pool.map(lambda pair: _Layout.of(*pair), pairs))
        slots = max(len(layout.ids) for layout in layouts)
        shapes = np.array([[level.shape[:2] for level in layout.levels] for layout in layouts], dtype=np.int64)
        sizes = shapes.prod(2)
        level_start = (np.cumsum(sizes.ravel()) - sizes.ravel()).reshape(sizes.shape)
        layer_start = np.full((len(layouts), slots), -1, dtype=np.int64)
        share, trust = np.zeros((2, len(layouts), slots), dtype=np.float32)
        at = 0
        for row, layout in enumerate(layouts):
            for slot, ids in enumerate(layout.ids):
                layer_start[row, slot] = at
                at += ids.size
            share[row, : len(layout.ids)], trust[row, : len(layout.ids)] = layout.shares, layout.trusts
        return cls(
            pixels=_joined([level.reshape(-1, 3) for layout in layouts for level in layout.levels], device),
            ids=_joined([ids.ravel().astype(np.int32) for layout in layouts for ids in layout.ids], device),
            depth=_joined([depth.ravel() for layout in layouts for depth in layout.depths], device),
            level_start=_joined([level_start], device),
            level_height=_joined([shapes[..., 0]], device),
            level_width=_joined([shapes[..., 1]], device),
            layer_start=_joined([layer_start], device),
            layer_share=_joined([share], device),
            layer_trust=_joined([trust], device),
            odds=_joined([_odds(sources)], device),
            scales=torch.tensor([source.scales for source, _ in pairs], dtype=torch.float32, device=device),
            most_ids=1 + max(int(ids.max()) for layout in layouts for ids in layout.ids),
        )

    @property
    def device(self) -> torch.device:
        """The device that holds the pictures."""
        return self.pixels.device


@dataclass(frozen=True, slots=True, eq=False)
class _Layout:
    levels: list[NDArray[np.uint8]]
    ids: list[NDArray[np.uint16]]
    depths: list[NDArray[np.uint8]]
    shares: list[float]
    trusts: list[float]

    @classmethod
    def of(cls, source: Source, picture: Picture) -> _Layout:
        named = {name: layer for name, layer in source.layers.items() if name in picture.layers}
        ids = [picture.layers[name] for name in named]
        levels = [picture.image]
        while len(levels) < LEVELS:
            levels.append(_halved(levels[-1]))
        shares, trusts = [layer.share for layer in named.values()], [layer.trust for layer in named.values()]
        return cls(levels, ids, [_depth(layer) for layer in ids], shares, trusts)


def _joined(parts: Sequence[NDArray[np.generic]], device: torch.device) -> Tensor:
    return torch.from_numpy(np.concatenate(parts)).to(device)


def _odds(sources: Sequence[Source]) -> NDArray[np.float32]:
    """Return how often each picture is drawn: by the weight of its source, then by the square root of its size."""
    total = sum(source.weight for source in sources)
    odds = []
    for source in sources:
        sizes = np.array([math.sqrt(picture.image.size) for picture in source.pictures])
        odds.append(source.weight / total * sizes / sizes.sum())
    return np.concatenate(odds).astype(np.float32)


def _halved(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Reduce an image by 2 as the mean of four pixels; one without a neighbour is left out, unless it is the only one."""
    height, width = (max(size // 2, 1) for size in image.shape[:2])
    rows, columns = (min(size, 2 * half) for size, half in zip(image.shape[:2], (height, width), strict=True))
    parts = image[:rows, :columns].reshape(height, rows // height, width, columns // width, 3)
    return np.asarray(parts.mean((1, 3), dtype=np.float32).round().astype(np.uint8))


def _depth(ids: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Return the distance of each pixel to the nearest pixel outside its object; 0 outside all objects."""
    padded = np.pad(ids, 1, mode="edge")
    inner = padded[1:-1, 1:-1]
    edge = np.zeros(ids.shape, dtype=bool)
    for down, right in ((0, 1), (2, 1), (1, 0), (1, 2)):
        edge |= padded[down : down + ids.shape[0], right : right + ids.shape[1]] != inner
    if not edge.any():
        return np.where(ids > 0, DEEPEST_PX, 0).astype(np.uint8)
    # A pixel beside another object is 1 away from it.
    distance = ndimage.distance_transform_edt(~edge) + 1
    return np.asarray(np.where(ids > 0, np.minimum(distance, DEEPEST_PX), 0).astype(np.uint8))


def draw_crops(pictures: DevicePictures, count: int, side: int, prompts: int, generator: Generator) -> Crops:
    """Draw crops with the same number of objects each; if a crop has fewer objects, some are used more than once.

    Parameters
    ----------
    pictures : DevicePictures
    count : int
        Number of crops.
    side : int
        Side of a crop in pixels.
    prompts : int
        Number of objects in each crop.
    generator : torch.Generator
        A generator on the device of the pictures. The same state draws the same crops.

    Returns
    -------
    Crops
        The images were changed by `samgeo.training.data.device_augmentation.augment_crops`.

    Raises
    ------
    OptionError
        If no crop holds an object.
    """
    places = _Places.draw(pictures, math.ceil(count * SPARE), side, generator)
    layers, inside = places.layers(pictures)
    images = places.image(pictures, inside)
    areas = _areas(layers, pictures.most_ids)
    meant = (areas >= MIN_AREA_PX) & (areas < MAX_SHARE * side * side)
    empty = (images == 0).all(3).float().mean((1, 2)) > MAX_EMPTY
    good = meant.flatten(1).any(1) & ~empty
    order = torch.argsort((~good).to(torch.uint8), stable=True)
    found = int(good.sum())
    if not found:
        raise OptionError(
            f"{len(good)} crops of {side} px had no object of {MIN_AREA_PX} px or more; check the labels and the scales."
        )
    # Crops without an object are replaced by crops with objects.
    kept = order[torch.arange(count, device=order.device) % found]
    shares = pictures.layer_share[places.picture[kept]]
    slots, numbers = _choose(areas[kept] * meant[kept], shares, prompts, generator)
    rows = torch.arange(count, device=kept.device)[:, None]
    masks = layers[kept][rows, slots] == numbers[..., None, None]
    depth = places.depth(pictures, kept, slots)
    trust = pictures.layer_trust[places.picture[kept]].gather(1, slots)
    return Crops(
        augment_crops(images[kept], generator),
        masks.flatten(0, 1),
        _clicks(masks, depth, generator).flatten(0, 1),
        _boxes(masks, generator).flatten(0, 1),
        trust.flatten(),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Places:
    """Origin of ``N`` crops: the picture of each crop, and the x and y in this picture of the centre of every pixel."""

    picture: Tensor
    x: Tensor
    y: Tensor
    scale: Tensor

    @classmethod
    def draw(cls, pictures: DevicePictures, count: int, side: int, generator: Generator) -> _Places:
        """Draw pictures and squares in them; scale, rotate and mirror the squares at random."""
        device = pictures.device

        def uniform(low: Tensor | float = 0.0, high: Tensor | float = 1.0) -> Tensor:
            drawn = torch.rand(count, generator=generator, device=device)
            return low + (high - low) * drawn

        picture = torch.multinomial(pictures.odds, count, replacement=True, generator=generator)
        low, high = pictures.scales[picture].log().unbind(1)
        turned = uniform() < ROTATED
        frame = torch.where(turned, round(side * TURNING), side).float()
        span = (frame / uniform(low, high).exp()).round().clamp(min=32)
        scale = frame / span
        corner = []
        for size in (pictures.level_width[picture, 0], pictures.level_height[picture, 0]):
            room = (size - span).clamp(min=0)
            # A picture that is smaller than the square lies in the corner of the square, or sometimes anywhere in it.
            gap = (span - size).clamp(min=0) * (uniform() < 0.3) * uniform()
            corner.append((uniform() * (room + 1)).floor().clamp(max=room) - gap)
        angle = torch.where(turned, uniform(-math.pi / 4, math.pi / 4), 0.0)
        angle = angle + (uniform() * 4).floor() * (math.pi / 2)
        mirrored = torch.where(uniform() < 0.5, -1.0, 1.0)
        centres = torch.arange(side, device=device) + 0.5 - side / 2
        across, down = centres[None, None, :] * mirrored[:, None, None], centres[None, :, None]
        cosine, sine = angle.cos()[:, None, None], angle.sin()[:, None, None]
        middle, zoom = (frame / 2)[:, None, None], scale[:, None, None]
        x = (cosine * across - sine * down + middle) / zoom + corner[0][:, None, None]
        y = (sine * across + cosine * down + middle) / zoom + corner[1][:, None, None]
        return cls(picture, x, y, scale)

    def image(self, pictures: DevicePictures, inside: Tensor) -> Tensor:
        """Interpolate the pixels from the level with the nearest resolution, shape (N, S, S, 3)."""
        level = (-self.scale.log2()).round().clamp(0, LEVELS - 1).long()
        start, height, width = (
            table[self.picture, level][:, None, None]
            for table in (pictures.level_start, pictures.level_height, pictures.level_width)
        )
        shrunk = (2.0**level)[:, None, None]
        x = torch.minimum((self.x / shrunk - 0.5).clamp(min=0), width - 1)
        y = torch.minimum((self.y / shrunk - 0.5).clamp(min=0), height - 1)
        left, top = x.floor().long(), y.floor().long()
        right, bottom = torch.minimum(left + 1, width - 1), torch.minimum(top + 1, height - 1)
        along, down = (x - left)[..., None], (y - top)[..., None]
        upper = torch.lerp(_pixels(pictures, start + top * width + left), _pixels(pictures, start + top * width + right), along)
        lower = torch.lerp(
            _pixels(pictures, start + bottom * width + left), _pixels(pictures, start + bottom * width + right), along
        )
        return torch.lerp(upper, lower, down).floor() * inside[..., None]

    def layers(self, pictures: DevicePictures) -> tuple[Tensor, Tensor]:
        """Return the object ids at the pixels, shape (N, L, S, S), and which pixels lie in the picture."""
        at, inside = self._index(pictures)
        starts = pictures.layer_start[self.picture]
        there = inside[:, None] & (starts >= 0)[..., None, None]
        ids = pictures.ids[(starts[..., None, None] + at[:, None]).clamp(min=0, max=len(pictures.ids) - 1)]
        return torch.where(there, ids, 0), inside

    def depth(self, pictures: DevicePictures, kept: Tensor, slots: Tensor) -> Tensor:
        """Return the depth of each pixel in its object, in pixels of the crop, for the chosen layers, shape (K, P, S, S)."""
        part = _Places(self.picture[kept], self.x[kept], self.y[kept], self.scale[kept])
        at, _ = part._index(pictures)
        starts = pictures.layer_start[part.picture].gather(1, slots)
        index = (starts[..., None, None] + at[:, None]).clamp(min=0, max=len(pictures.depth) - 1)
        depth = pictures.depth[index].float() * part.scale[:, None, None, None]
        side = depth.shape[-1]
        edge = torch.arange(side, device=depth.device) + 1.0
        edge = torch.minimum(edge, side + 1 - edge)
        return torch.minimum(depth, torch.minimum(edge[:, None], edge))

    def _index(self, pictures: DevicePictures) -> tuple[Tensor, Tensor]:
        height, width = pictures.level_height[self.picture, 0], pictures.level_width[self.picture, 0]
        height, width = height[:, None, None], width[:, None, None]
        inside = (self.x >= 0) & (self.x < width) & (self.y >= 0) & (self.y < height)
        x, y = torch.minimum(self.x.long().clamp(min=0), width - 1), torch.minimum(self.y.long().clamp(min=0), height - 1)
        return y * width + x, inside


def _pixels(pictures: DevicePictures, index: Tensor) -> Tensor:
    return pictures.pixels[index].float()


def _areas(layers: Tensor, most_ids: int) -> Tensor:
    """Count the pixels of each object of each crop and layer, shape (N, L, ids); the count of id 0 is 0."""
    crops, slots = layers.shape[:2]
    row = torch.arange(crops * slots, device=layers.device).view(crops, slots, 1)
    key = (row * most_ids + layers.flatten(2)).flatten()
    areas = torch.zeros(crops * slots * most_ids, dtype=torch.int32, device=layers.device)
    areas.scatter_add_(0, key, torch.ones(1, dtype=torch.int32, device=layers.device).expand(len(key)))
    areas = areas.view(crops, slots, most_ids)
    areas[..., 0] = 0
    return areas


def _choose(areas: Tensor, shares: Tensor, prompts: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """Choose objects of each crop at random; return the layer and the id of each, shape (K, P).

    The probability of an object is proportional to the share of its layer, and larger objects are a little likelier. Objects
    are drawn without repetition by the Gumbel top-k trick. If there are too few, they are repeated from the first.
    """
    sizes = areas.clamp(max=LARGE_PX).float() ** SIZE_POWER
    odds = sizes / sizes.sum(2, keepdim=True).clamp(min=1e-9) * shares[..., None]
    odds = odds.flatten(1)
    uniform = torch.rand(odds.shape, generator=generator, device=odds.device).clamp(min=1e-12)
    keys = torch.where(odds > 0, odds.log() - (-uniform.log()).log(), -torch.inf)
    ranked = keys.topk(min(prompts, keys.shape[1]), dim=1).indices
    found = (odds > 0).sum(1, keepdim=True).clamp(min=1, max=ranked.shape[1])
    chosen = ranked.gather(1, torch.arange(prompts, device=odds.device) % found)
    return chosen // areas.shape[2], chosen % areas.shape[2]


def _clicks(masks: Tensor, depth: Tensor, generator: Generator) -> Tensor:
    """Return a point in each mask ``(K, P, S, S)``, with the same probabilities as `sample_click`."""
    crops, each, side, _ = masks.shape

    def uniform(*shape: int) -> Tensor:
        return torch.rand((crops, each, *shape), generator=generator, device=masks.device)

    kind = uniform(1)
    share = torch.where(kind < MIDDLE, 0.7 + 0.28 * uniform(1), 0.2 + 0.4 * uniform(1))
    share = torch.where(kind < MIDDLE + NEAR, share, 0.0)
    inside = torch.where(masks, depth, 0.0).flatten(2)
    deep = inside >= (inside.amax(2, keepdim=True) * share).clamp(min=1e-6)
    cell = torch.where(deep, uniform(side * side) + 1e-6, 0.0).argmax(2)
    return torch.stack([cell % side, cell // side], dim=-1) + 0.1 + 0.8 * uniform(2)


def _boxes(masks: Tensor, generator: Generator) -> Tensor:
    """Return the box of each mask ``(K, P, S, S)``, with its sides moved at random as in `jitter_box`."""
    side, device = masks.shape[-1], masks.device
    low, high = [], []
    for axis in (2, 3):
        line = masks.any(axis).to(torch.uint8)
        low.append(line.argmax(2))
        high.append(side - line.flip(2).argmax(2))
    box = torch.stack([*low, *high], dim=-1).float()
    size = box[..., 2:] - box[..., :2]
    pick = (torch.rand(box.shape, generator=generator, device=device) * len(JITTER)).long().clamp(max=len(JITTER) - 1)
    reach = torch.tensor(JITTER, device=device)[pick[..., :1]] * torch.cat([size, size], dim=-1)
    moved = box + torch.randn(box.shape, generator=generator, device=device) * reach.clamp(max=JITTER_LIMIT_PX)
    corner = torch.minimum(moved[..., :2], moved[..., 2:]).clamp(0, side - 2)
    other = torch.maximum(moved[..., :2], moved[..., 2:]).clamp(max=side)
    return torch.cat([corner, torch.maximum(other, corner + 2)], dim=-1)
