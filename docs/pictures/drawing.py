"""What several pictures of the manual share: a folder for scenes, panels side by side, coloured outlines, text."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import shapely
from PIL import Image, ImageDraw, ImageFont
from registry import MOST_KB, folder

from samgeo.plot import RGB
from samgeo.synthetic import Scene

RED: RGB = (230, 40, 40)
GREEN: RGB = (60, 200, 60)
BLUE: RGB = (60, 120, 240)
ORANGE: RGB = (250, 150, 30)
MAGENTA: RGB = (230, 40, 230)
INK: RGB = (40, 40, 40)
PAPER: RGB = (255, 255, 255)

GAP_PX = 8
FINER = 4
"""Outlines are drawn this many times larger and reduced, so that their edges are smooth."""

BEST_QUALITY, WORST_QUALITY = 88, 40


def saved(scene: Scene, name: str = "town.tif") -> Path:
    """Write the image of a scene into a new folder."""
    return scene.save(folder() / name)


def beside(pictures: Sequence[Image.Image], *, columns: int | None = None) -> Image.Image:
    """Put pictures of one size side by side, in rows of ``columns``."""
    columns = columns or len(pictures)
    width, height = pictures[0].size
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * (width + GAP_PX) - GAP_PX, rows * (height + GAP_PX) - GAP_PX), PAPER)
    for number, one in enumerate(pictures):
        sheet.paste(one, (number % columns * (width + GAP_PX), number // columns * (height + GAP_PX)))
    return sheet


def enlarged(picture: Image.Image, factor: float) -> Image.Image:
    """Return a picture in another size."""
    size = round(picture.width * factor), round(picture.height * factor)
    return picture.resize(size, Image.Resampling.LANCZOS)


def painted(
    scene: Scene, layers: Iterable[tuple[Iterable[shapely.Geometry], RGB]], *, opacity: float = 0.35, line_px: float = 2.0
) -> Image.Image:
    """Draw polygons in the CRS of a scene on its image, each layer in its colour."""
    picture = Image.fromarray(scene.image)
    affine = np.array((~scene.geobox.affine)[:6]).reshape(2, 3)
    for geometries, color in layers:
        for geometry in geometries:
            in_pixels = shapely.transform(geometry, lambda xy: (xy @ affine[:, :2].T + affine[:, 2]) * FINER)
            for part in shapely.get_parts(in_pixels):
                _paint(picture, part, color, opacity, line_px)
    return picture


def _paint(picture: Image.Image, polygon: shapely.Geometry, color: RGB, opacity: float, line_px: float) -> None:
    mask = Image.new("L", (picture.width * FINER, picture.height * FINER))
    pen = ImageDraw.Draw(mask)
    exterior, *holes = [
        [tuple(point) for point in shapely.get_coordinates(ring).tolist()] for ring in shapely.get_rings(polygon)
    ]
    pen.polygon(exterior, fill=round(255 * opacity))
    for hole in holes:
        pen.polygon(hole, fill=0)
    for ring in (exterior, *holes):
        pen.line(ring, fill=255, width=round(line_px * FINER), joint="curve")
    picture.paste(color, (0, 0), mask.resize(picture.size, Image.Resampling.BOX))


def text(
    picture: Image.Image, at: tuple[float, float], words: str, *, size: int = 18, color: RGB = INK, anchor: str = "la"
) -> None:
    """Write words on a picture."""
    ImageDraw.Draw(picture).text(at, words, fill=color, font=ImageFont.load_default(size), anchor=anchor)


def tagged(picture: Image.Image, words: str) -> Image.Image:
    """Write words in the upper left corner, on a light ground."""
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(18)
    left, top, right, bottom = pen.textbbox((8, 6), words, font=font)
    pen.rectangle((left - 4, top - 4, right + 4, bottom + 4), fill=PAPER)
    pen.text((8, 6), words, fill=INK, font=font)
    return picture


def encoded(picture: Image.Image, suffix: str) -> bytes:
    """Return the bytes of a file of at most `MOST_KB` kB: a JPEG in the best quality that fits, or a PNG of 128 colours."""
    if suffix == ".png":
        content = _bytes(picture.quantize(128), format="PNG", optimize=True)
        if len(content) <= 1000 * MOST_KB:
            return content
        raise ValueError(f"the PNG has {len(content)} bytes; make the picture smaller")
    for quality in range(BEST_QUALITY, WORST_QUALITY, -4):
        content = _bytes(picture.convert("RGB"), format="JPEG", quality=quality, optimize=True, progressive=True)
        if len(content) <= 1000 * MOST_KB:
            return content
    raise ValueError(f"the JPEG has {len(content)} bytes in the lowest quality; make the picture smaller")


def _bytes(picture: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, **options)  # type: ignore[arg-type]
    return buffer.getvalue()
