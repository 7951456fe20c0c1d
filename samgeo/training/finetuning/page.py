"""The report of a fine-tuning: one HTML page with the decision, the scores, the curve of the loss, and pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from samgeo.models.protocols import Segmenter
from samgeo.training.assessment.click_evaluation import ObjectScores, answers_to_boxes
from samgeo.training.data.pictures import Picture
from samgeo.training.finetuning.gate import PROMPTS, Gain
from samgeo.training.finetuning.outlines import MIN_AREA_PX
from samgeo.training.finetuning.split import LAYER

__all__ = ["Compared", "html_page"]

SHOWN = 8
PANEL_PX = 240
AROUND = 0.6
GREEN, MAGENTA = (0, 220, 90), (255, 0, 200)
STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "table{border-collapse:collapse}td,th{border-bottom:1px solid #ccc;padding:.3rem .8rem;text-align:right}"
    "td:first-child,th:first-child{text-align:left;white-space:nowrap}.facts td{text-align:left;vertical-align:top}"
    ".gains td{white-space:nowrap}svg{display:block;margin-top:1.5rem}.verdict{padding:.8rem 1rem;border-left:.4rem solid}"
    ".yes{border-color:#2a8f4a;background:#eaf6ee}.no{border-color:#b3541e;background:#fbf0e9}"
    "figure{display:inline-block;margin:.3rem}figcaption{font-size:.85rem;color:#555}img{image-rendering:auto}"
)


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """The models before and after training, and their scores on the held-out objects.

    Attributes
    ----------
    before, after : Segmenter
    pictures : sequence of Picture
        With the held-out objects.
    scores_before, scores_after : ObjectScores
    """

    before: Segmenter
    after: Segmenter
    pictures: Sequence[Picture]
    scores_before: ObjectScores
    scores_after: ObjectScores


def html_page(
    title: str,
    verdict: str,
    *,
    accepted: bool,
    facts: Mapping[str, str],
    gains: Mapping[str, Gain],
    log: Sequence[Mapping[str, float]],
    compared: Compared | None,
) -> str:
    """Return the report as HTML that needs no other file.

    Parameters
    ----------
    title, verdict : str
    accepted : bool
        Whether the trained weights were accepted.
    facts : dict of str to str
        Rows of a table of options and counts.
    gains : dict of str to Gain
        The scores; empty if nothing was trained.
    log : sequence of dict
        Lines of the log of the training.
    compared : Compared or None
        For the pictures; None if nothing was trained.
    """
    kind = "yes" if accepted else "no"
    parts = [
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>',
        f"<style>{STYLE}</style></head>",
        f'<body><h1>{escape(title)}</h1><p class="verdict {kind}">{escape(verdict)}</p>',
    ]
    if gains:
        parts += ["<h2>Held-out objects</h2>", _gains(gains)]
    parts += ["<h2>Training</h2>", _rows(facts)]
    if len(log) > 1:
        parts.append(_curve([(line["step"], line["loss"]) for line in log if "loss" in line]))
    if compared is not None:
        parts += ["<h2>Before and after</h2>", _pictures(compared)]
    return "\n".join([*parts, "</body></html>"]) + "\n"


def _rows(facts: Mapping[str, str]) -> str:
    rows = "".join(f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in facts.items())
    return f'<table class="facts">{rows}</table>'


def _gains(gains: Mapping[str, Gain]) -> str:
    heads = ("prompt", "IoU before", "IoU after", "gain", "interval of the gain", "Dice before", "Dice after", "")
    rows = "".join(
        f"<tr><td>{PROMPTS[name]}</td><td>{gain.before:.3f}</td><td>{gain.after:.3f}</td><td>{gain.difference:+.3f}</td>"
        f"<td>{gain.low:+.3f} to {gain.high:+.3f}</td><td>{gain.before_dice:.3f}</td><td>{gain.after_dice:.3f}</td>"
        f"<td>{'better' if gain.is_better else 'worse' if gain.is_worse else 'no clear change'}</td></tr>"
        for name, gain in gains.items()
    )
    header = "".join(f"<th>{head}</th>" for head in heads)
    return (
        f'<table class="gains"><tr>{header}</tr>{rows}</table>'
        "<p>Mean IoU and Dice coefficient over the objects. The intervals are those of "
        "a paired bootstrap over the objects; each bound is exceeded with a probability of 0.05 / 3.</p>"
    )


def _curve(points: Sequence[tuple[float, float]]) -> str:
    """Draw the loss over the steps as SVG."""
    xy = np.array([point for point in points if np.isfinite(point[1])], dtype=np.float64).reshape(-1, 2)
    if len(xy) < 2:
        return ""
    width, height, left, bottom = 640, 220, 60, 30
    low, high = xy.min(0), xy.max(0)
    span = np.maximum(high - low, 1e-9)
    x = left + (xy[:, 0] - low[0]) / span[0] * (width - left - 10)
    y = 10 + (high[1] - xy[:, 1]) / span[1] * (height - bottom - 20)
    line = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    floor = height - bottom
    return (
        f'<svg width="{width}" height="{height}" role="img" aria-label="Loss over the steps">'
        f'<path d="M{left},10V{floor}H{width - 10}" fill="none" stroke="#999"/>'
        f'<polyline points="{line}" fill="none" stroke="#2a6f8f" stroke-width="1.5"/>'
        f'<text x="{left - 6}" y="16" text-anchor="end" font-size="12">{high[1]:.2f}</text>'
        f'<text x="{left - 6}" y="{floor - 4}" text-anchor="end" font-size="12">{low[1]:.2f}</text>'
        f'<text x="{left}" y="{height - 10}" font-size="12">step {low[0]:.0f}</text>'
        f'<text x="{width - 10}" y="{height - 10}" text-anchor="end" font-size="12">step {high[0]:.0f}</text></svg>'
        "<p>Loss of the training examples over the steps.</p>"
    )


def _pictures(compared: Compared) -> str:
    """Show the objects whose answers to boxes became better, and worse, by the most."""
    places = [
        (which, number)
        for which, picture in enumerate(compared.pictures)
        for number in np.flatnonzero(np.bincount(picture.layers[LAYER].ravel()) >= MIN_AREA_PX).tolist()
        if number
    ]
    change = compared.scores_after.box - compared.scores_before.box
    order = np.argsort(change, kind="stable")
    shown = order if len(order) <= SHOWN else np.concatenate([order[: SHOWN // 2], order[-SHOWN // 2 :]])
    answers: dict[int, tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]] = {}
    for which in {places[index][0] for index in shown.tolist()}:
        picture = compared.pictures[which]
        own = [index for index in shown.tolist() if places[index][0] == which]
        truths = np.stack([picture.layers[LAYER] == places[index][1] for index in own])
        pair = (answers_to_boxes(model, picture.image, truths) for model in (compared.before, compared.after))
        answers |= dict(zip(own, zip(truths, *pair, strict=True), strict=True))
    found = []
    for index in shown[::-1].tolist():
        picture = compared.pictures[places[index][0]]
        truth, before, after = answers[index]
        values = f"{compared.scores_before.box[index]:.2f}", f"{compared.scores_after.box[index]:.2f}"
        panels = (_panel(picture.image, truth, None), _panel(picture.image, truth, before), _panel(picture.image, truth, after))
        names = ("outline", f"before: {values[0]}", f"after: {values[1]}")
        found.append(
            "<div>"
            + "".join(
                f'<figure><img src="data:image/png;base64,{data}" alt="{name}"><figcaption>{name}</figcaption></figure>'
                for data, name in zip(panels, names, strict=True)
            )
            + "</div>"
        )
    return (
        "<p>Answers to the box of held-out objects, with their IoU. The first ones became better by the most; the last ones "
        "became worse, or better by the least. The given outline is green, the answer magenta.</p>" + "\n".join(found)
    )


def _along(places: NDArray[np.intp], side: int, length: int) -> slice:
    """Return a range of a length around some places, moved into the image; shorter where the image is shorter."""
    start = max(min(int(places[0] + places[-1] + 1 - side) // 2, length - side), 0)
    return slice(start, start + side)


def _panel(image: NDArray[np.uint8], truth: NDArray[np.bool_], answer: NDArray[np.bool_] | None) -> str:
    """Draw the surroundings of an object as PNG, in base64."""
    rows, columns = np.flatnonzero(truth.any(1)), np.flatnonzero(truth.any(0))
    span = int(max(rows[-1] - rows[0], columns[-1] - columns[0]))
    side = span + 1 + 2 * (round(AROUND * span) + 8)
    part = _along(rows, side, image.shape[0]), _along(columns, side, image.shape[1])
    crop = image[part]
    factor = PANEL_PX / max(crop.shape[:2])
    size = max(round(crop.shape[1] * factor), 1), max(round(crop.shape[0] * factor), 1)
    drawn = np.array(Image.fromarray(np.ascontiguousarray(crop)).resize(size, Image.Resampling.BICUBIC))
    for mask, colour in ((truth, GREEN), (answer, MAGENTA)):
        if mask is not None:
            large = np.array(Image.fromarray(mask[part]).resize(size, Image.Resampling.NEAREST))
            drawn[large & ~ndimage.binary_erosion(large, iterations=2)] = colour
    buffer = io.BytesIO()
    Image.fromarray(drawn).save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")
