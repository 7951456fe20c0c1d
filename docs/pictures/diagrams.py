"""Diagrams of the tutorial: the windows of a large raster, and who does what on a cluster."""

from __future__ import annotations

from drawing import BLUE, GREEN, INK, ORANGE, PAPER, enlarged, text
from PIL import Image, ImageDraw
from registry import picture

from samgeo.plot import RGB
from samgeo.synthetic import town

SETTLED: RGB = (205, 235, 205)
LEGEND_PX = 380


@picture("tutorial-large-raster.jpg")
def large_raster() -> Image.Image:
    """Draw windows that overlap by a quarter, in rows of which the first are done, for page 8."""
    scene = enlarged(Image.fromarray(town((400, 640), seed=5).image), 1)
    side, step = 160, 120
    tint = Image.new("RGB", scene.size, SETTLED)
    done = 2 * step
    scene.paste(Image.blend(scene.crop((0, 0, scene.width, done)), tint.crop((0, 0, scene.width, done)), 0.5), (0, 0))
    pen = ImageDraw.Draw(scene)
    for top in range(0, scene.height - side + 1, step):
        for left in range(0, scene.width - side + 1, step):
            color = GREEN if top < done else ORANGE if top == done and left < 3 * step else BLUE
            pen.rectangle((left + 2, top + 2, left + side - 3, top + side - 3), outline=color, width=3)
    sheet = Image.new("RGB", (scene.width + LEGEND_PX, scene.height), PAPER)
    sheet.paste(scene, (0, 0))
    pen = ImageDraw.Draw(sheet)
    lines = (
        (GREEN, ("rows that are done:", "objects are in rows/*.parquet,", "not in memory")),
        (ORANGE, ("windows in work,", "four for each worker")),
        (BLUE, ("windows that wait:", "not read yet")),
    )
    for number, (color, words) in enumerate(lines):
        x, y = scene.width + 24, 40 + 120 * number
        pen.rectangle((x, y, x + 28, y + 28), outline=color, width=4)
        for line, word in enumerate(words):
            text(sheet, (x + 44, y + 2 + 26 * line), word, size=20)
    return sheet


@picture("tutorial-cluster.jpg")
def cluster() -> Image.Image:
    """Draw the command, the scheduler, the workers, the raster and the result, for page 9."""
    sheet = Image.new("RGB", (1000, 420), PAPER)
    pen = ImageDraw.Draw(sheet)
    boxes = {
        "raster": ((30, 150, 210, 270), ("raster", "on a shared drive,", "or at an address"), GREEN),
        "scheduler": ((290, 40, 470, 130), ("Dask scheduler", "hands out windows"), BLUE),
        "command": ((290, 290, 470, 400), ("samgeo find", "merges objects,", "writes the file"), ORANGE),
        "result": ((30, 310, 210, 390), ("city.parquet", "and city.run"), GREEN),
    }
    for number in range(3):
        top = 30 + 130 * number
        boxes[f"worker{number}"] = (
            (700, top, 970, top + 100),
            (f"worker {number + 1}", "reads windows,", "runs the model"),
            BLUE,
        )
    for (left, top, right, bottom), words, color in boxes.values():
        pen.rounded_rectangle((left, top, right, bottom), 12, fill=tint(color), outline=color, width=3)
        first = (top + bottom) / 2 - 13 * (len(words) - 1)
        for line, word in enumerate(words):
            text(sheet, ((left + right) / 2, first + 26 * line), word, size=20 if line == 0 else 17, anchor="mm")
    arrow(pen, (380, 290), (380, 132))
    text(sheet, (390, 150), "tasks", size=17)
    arrow(pen, (290, 350), (212, 350))
    for number in range(3):
        y = 80 + 130 * number
        arrow(pen, (470, 85), (698, y - 20))
        arrow(pen, (698, y + 15), (472, 345))
    text(sheet, (560, 375), "masks and scores", size=17)
    pen.line((210, 210, 640, 210), fill=GREEN, width=3)
    text(sheet, (225, 184), "pixels", size=17)
    for number in range(3):
        arrow(pen, (640, 210), (698, 80 + 130 * number), GREEN)
    return sheet


def tint(color: RGB) -> RGB:
    """Return a light shade of a colour."""
    red, green, blue = (round(255 - (255 - one) * 0.18) for one in color)
    return red, green, blue


def arrow(pen: ImageDraw.ImageDraw, start: tuple[float, float], end: tuple[float, float], color: RGB = INK) -> None:
    """Draw a line with a head."""
    (x0, y0), (x1, y1) = start, end
    pen.line((x0, y0, x1, y1), fill=color, width=2)
    length = ((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5
    along, across = ((x1 - x0) / length, (y1 - y0) / length), (-(y1 - y0) / length, (x1 - x0) / length)
    head = [(x1, y1)]
    head += [(x1 - 12 * along[0] + turn * across[0], y1 - 12 * along[1] + turn * across[1]) for turn in (5, -5)]
    pen.polygon(head, fill=color)
