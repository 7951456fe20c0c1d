"""Fine-tuning of the bundled model on 20 and 80 outlines of one place, judged on other images of the place.

    SAMGEO_DATA=... python benchmarks/bench_finetune.py [--runs 60] [--steps 100] [--seeds 3] [--shifted | --fields]

Places: the chips of SpaceNet 1 in Rio with footprints (0.5 m, enlarged twice), of which the first, third, fifth and seventh
give outlines and the others judge; tile 7 of Dubai (no CRS), of which the first four images give outlines and the other five
judge. The outlines of a run are those of whole images in random order, and of the last image those nearest to each other.
``samgeo.finetune`` divides them itself into a part for training and a part for its comparison. The judging images are used
in neither. They are prompted with one click, three clicks and the box of each object, before and after.

The tables have the changes by the weights at the end of the training, whatever the comparison said. Where it refuses them, the
output has the weights of the start, and nothing changes. Intervals are those of a paired bootstrap over the judging
objects, 0.025 to 0.975.

With --shifted, outlines that are shifted by 20 pixels of the judging scale are given instead, with ten seeds: as the
function is, and in Rio also with check_shift=False, so that its comparison alone decides.

With --fields, 64 fields of a generated image are given, whose light and dark stripes are one object, unlike everything in the
training images of the bundled model. No data set is needed. The scores are those of the function's own comparison.

Every run on a place is a line of a JSON file in the folder --output. Runs that are there are not repeated, and a stopped run
continues.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from _skip import skip
from PIL import Image
from scipy import ndimage

import samgeo
from samgeo.models import keep_freed_memory
from samgeo.training.assessment.click_evaluation import ObjectScores, score_objects
from samgeo.training.data import overhead_recipe
from samgeo.training.data.pictures import Picture, from_classes, read_image
from samgeo.training.finetuning.gate import bootstrap_means

LAYER = "building"
PRESETS = ("decoder", "bitfit", "lora", "medsam", "all")
GIVEN = (20, 80)
MEASURES = ("click", "click_best", "three_clicks", "box")
# Pixels without data between the images that give outlines.
GAP_PX = 512
LEAST_PX = 60
SHIFT_PX, SHIFTED_SEEDS = 20, 10


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Images of a place: those that give outlines, and those that judge."""

    name: str
    giving: Sequence[Picture]
    judging: Sequence[Picture]
    scale: int

    def judge(self, model: samgeo.models.Segmenter) -> ObjectScores:
        least = LEAST_PX * self.scale**2
        return score_objects(model, self.judging, layer=LAYER, min_area_px=least)


def main() -> None:
    keep_freed_memory()  # as the command line does
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10**6, help="the largest number of new runs")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--shifted", action="store_true", help="give outlines that are shifted")
    parser.add_argument("--fields", action="store_true", help="train on generated fields with stripes")
    parser.add_argument("--output", type=Path, default=Path("build/finetune"))
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    if options.fields:
        fields(options.output)
        return
    data = Path(os.environ.get("SAMGEO_DATA", ""))
    if not (data / "spacenet1-rio-sample").is_dir() or not (data / "dubai-semseg").is_dir():
        skip("SAMGEO_DATA does not name a folder with spacenet1-rio-sample and dubai-semseg.")
    path = options.output / ("shifted.jsonl" if options.shifted else "runs.jsonl")
    places = {place.name: place for place in (rio(data), dubai(data))}
    plan = list(shifted_plan() if options.shifted else table_plan(options.seeds))
    done = known(path)
    left = [run for run in plan if json.dumps({**run, "steps": options.steps}) not in done]
    for run in left[: options.runs]:
        line = one_run(places[run["place"]], run, options.steps, options.output)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    found = known(path)
    lines = [found[key] for run in plan if (key := json.dumps({**run, "steps": options.steps})) in found]
    before = starts(places, options.output)
    if options.shifted:
        shifted_table(lines)
    else:
        table(lines, before)


def table_plan(seeds: int) -> Iterator[dict[str, object]]:
    """Yield the runs of the table, the most important ones first."""
    order = [
        *((seed, GIVEN[0], preset) for seed in (0, 1) for preset in PRESETS[:3]),
        *((0, given, preset) for given in GIVEN for preset in PRESETS),
        *((seed, given, preset) for seed in range(seeds) for given in GIVEN for preset in PRESETS),
    ]
    for seed, given, preset in dict.fromkeys(order):
        if seed < seeds:
            for place in ("Rio", "Dubai"):
                yield {"place": place, "given": given, "preset": preset, "seed": seed, "shift_px": 0, "check_shift": True}


def shifted_plan() -> Iterator[dict[str, object]]:
    """Yield the runs with shifted outlines: with the check in both places, and without it, which takes longer, in Rio."""
    for place, check in (("Rio", True), ("Rio", False), ("Dubai", True)):
        for seed in range(SHIFTED_SEEDS):
            yield {
                "place": place, "given": 80, "preset": "decoder", "seed": seed, "shift_px": SHIFT_PX, "check_shift": check,
            }  # fmt: skip


def known(path: Path) -> dict[str, dict]:
    if not path.exists():
        return {}
    return {json.dumps(line["run"]): line for line in map(json.loads, path.read_text(encoding="utf-8").splitlines())}


def one_run(place: Place, run: Mapping, steps: int, folder: Path) -> dict:
    image, labels, given = mosaic(place, run["given"], run["seed"])
    if run["shift_px"]:
        labels = np.roll(labels, run["shift_px"], axis=1)
    checked = "checked" if run["check_shift"] else "unchecked"
    name = f"{run['place']}-{run['given']}-{run['preset']}-{run['seed']}-{run['shift_px']}-{checked}-{steps}"
    begun = time.process_time()
    done = samgeo.finetune(
        image, labels, folder / f"{name}.safetensors", preset=run["preset"], minutes=None, steps=steps,
        check_shift=run["check_shift"], alpha=4, nodata="none", device="cpu", threads=1, seed=run["seed"], overwrite=True,
    )  # fmt: skip
    line = {
        "run": {**run, "steps": steps},
        "given": given,
        "trained_on": done.trained_on,
        "held_out": done.held_out,
        "accepted": done.accepted,
        "reason": done.reason,
        "shift_px": done.shift_px,
        "compared": {kind: [gain.before, gain.after, gain.low, gain.high] for kind, gain in done.gains.items()},
        "seconds": round(time.process_time() - begun, 1),
    }
    if done.gains:
        trained = samgeo.load_model(done.folder / "trained.safetensors", device="cpu", dtype="float32")
        line["judged"] = listed(place.judge(trained))
    print(name, "accepted" if done.accepted else "refused", done.reason, line["seconds"], flush=True)
    return line


def listed(scores: ObjectScores) -> dict[str, object]:
    found: dict[str, object] = {kind: getattr(scores, kind).round(4).tolist() for kind in MEASURES}
    return {**found, "iou_error": round(scores.means().iou_error, 4)}


def starts(places: Mapping[str, Place], folder: Path) -> dict[str, dict]:
    """Return the scores of the model that training starts from, which are computed once."""
    model = samgeo.load_model("tiny", device="cpu", dtype="float32")
    path = folder / f"start-{model.digest[:12]}.json"
    if not path.exists():
        path.write_text(json.dumps({name: listed(place.judge(model)) for name, place in places.items()}), encoding="utf-8")
    return json.loads(path.read_text(encoding="utf-8"))


def rio(data: Path) -> Place:
    scale = 2
    chips = [enlarged(picture, scale) for picture in overhead_recipe.validation(data)["Rio"]]
    return Place("Rio", chips[::2], chips[1::2], scale)


def dubai(data: Path) -> Place:
    """Read tile 7, whose colours are not exact: a pixel has the class with the nearest colour."""
    colours = np.array(overhead_recipe.DUBAI_COLOURS, dtype=np.int16)
    pictures = []
    for path in sorted((data / "dubai-semseg" / "Tile 7" / "images").glob("*.jpg")):
        image, mask = read_image(path), read_image(path.parents[1] / "masks" / f"{path.stem}.png")
        rows, columns = min(len(image), len(mask)), min(image.shape[1], mask.shape[1])
        distance = np.stack([np.abs(mask[:rows, :columns].astype(np.int16) - colour).sum(2) for colour in colours])
        pictures.append(from_classes(path.stem, image[:rows, :columns], distance.argmin(0), {LAYER: (0,)}))
    return Place("Dubai", pictures[:4], pictures[4:], 1)


def enlarged(picture: Picture, scale: int) -> Picture:
    height, width = picture.shape
    image = np.asarray(Image.fromarray(picture.image).resize((width * scale, height * scale), Image.Resampling.BILINEAR))
    return Picture(picture.name, image, {LAYER: picture.layers[LAYER].repeat(scale, 0).repeat(scale, 1)})


def mosaic(place: Place, count: int, seed: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Put the giving images beside each other: RGB with transparency, the numbers of the outlines, and how many there are."""
    rng = np.random.default_rng([77, seed])
    height = max(picture.shape[0] for picture in place.giving)
    width = sum(picture.shape[1] + GAP_PX for picture in place.giving)
    image, labels = np.zeros((height, width, 4), dtype=np.uint8), np.zeros((height, width), dtype=np.int32)
    given, left = 0, 0
    for which in rng.permutation(len(place.giving)).tolist():
        picture = place.giving[which]
        ids = picture.layers[LAYER].astype(np.int32)
        numbers = np.unique(ids[ids > 0])
        if len(numbers) > count - given:
            middles = np.array(ndimage.center_of_mass(ids > 0, ids, numbers))
            first = middles[rng.integers(len(middles))]
            numbers = numbers[np.argsort(((middles - first) ** 2).sum(1))[: count - given]]
        part = slice(0, picture.shape[0]), slice(left, left + picture.shape[1])
        image[(*part, slice(0, 3))], image[(*part, 3)] = picture.image, 255
        chosen = np.isin(ids, numbers)
        labels[part][chosen] = ids[chosen] + 1000 * (which + 1)
        given += len(numbers)
        left += picture.shape[1] + GAP_PX
    return image, labels, given


def fields(folder: Path) -> None:
    """Fine-tune on the striped fields of a generated image, and print the comparison."""
    image, labels = striped_fields(1024, 128)
    begun = time.process_time()
    done = samgeo.finetune(
        image, labels, folder / "fields.safetensors", rate=5e-4, minutes=None, steps=60, device="cpu", threads=1, overwrite=True
    )
    print("| prompt | held-out fields | IoU before | IoU after | interval of the gain |\n|---|---|---|---|---|")
    for kind, gain in done.gains.items():
        print(f"| {kind} | {done.held_out} | {gain.before:.3f} | {gain.after:.3f} | {gain.low:+.3f} to {gain.high:+.3f} |")
    print(f"\n{'accepted' if done.accepted else 'refused'}, {time.process_time() - begun:.0f} seconds of processor time")


def striped_fields(side: int, cell: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw an image with one field in each square cell: a turned rectangle with light and dark stripes; and their numbers."""
    rng = np.random.default_rng([6, 2])
    y, x = np.mgrid[:side, :side] + 0.5
    ground = ndimage.gaussian_filter(rng.normal(0, 1, (side, side)), 12)
    ground /= ground.std()
    image = np.array([90, 100, 70]) + ground[..., None] * np.array([12, 14, 10])
    labels = np.zeros((side, side), dtype=np.int32)
    for number, (row, column) in enumerate(np.ndindex(side // cell, side // cell), 1):
        down, right = (row + 0.5) * cell + rng.uniform(-8, 8), (column + 0.5) * cell + rng.uniform(-8, 8)
        angle, length, width = rng.uniform(0, np.pi), rng.uniform(40, 62), rng.uniform(28, 42)
        along = (x - right) * np.cos(angle) + (y - down) * np.sin(angle)
        across = -(x - right) * np.sin(angle) + (y - down) * np.cos(angle)
        field = (abs(along) < length) & (abs(across) < width)
        light = ((across / rng.uniform(5, 9)).astype(int) + 100) % 2 == 1
        image[field] = np.where(light[field][:, None], rng.uniform(150, 220, 3), rng.uniform(30, 80, 3))
        labels[field] = number
    return np.clip(image + rng.normal(0, 4, image.shape), 1, 255).astype(np.uint8), labels


def table(lines: Sequence[Mapping], before: Mapping) -> None:
    """Print a row for each place, number of outlines and preset, and the changes of each run with their intervals."""
    print("\n| place | outlines | preset | runs | accepted | click | best of three | three clicks | box | IoU error |")
    print("|---" * 10 + "|")
    for place, start in before.items():
        means = " | ".join(f"{np.mean(start[kind]):.3f}" for kind in MEASURES)
        print(f"| {place}, {len(start['box'])} objects | - | the start | | | {means} | {start['iou_error']:.3f} |")
        keys = dict.fromkeys((line["run"]["given"], line["run"]["preset"]) for line in lines if line["run"]["place"] == place)
        for given, preset in sorted(keys, key=lambda key: (key[0], PRESETS.index(key[1]))):
            own = [
                line
                for line in lines
                if (line["run"]["place"], line["run"]["given"], line["run"]["preset"]) == (place, given, preset)
                and "judged" in line
            ]
            if not own:
                continue
            accepted = sum(line["accepted"] for line in own)
            changes = []
            for kind in MEASURES:
                runs = [np.mean(line["judged"][kind]) - np.mean(start[kind]) for line in own]
                changes.append(f"{np.mean(runs):+.3f} ± {np.std(runs):.3f}")
            error = np.mean([line["judged"]["iou_error"] for line in own]) - start["iou_error"]
            count = round(np.mean([line["given"] for line in own]))
            print(f"| {place} | {count} | {preset} | {len(own)} | {accepted} | {' | '.join(changes)} | {error:+.3f} |")
    print("\n| place | outlines | preset | seed | compared on | verdict | click | three clicks | box |\n" + "|---" * 9 + "|")
    worse = 0
    for line in lines:
        run, start = line["run"], before[line["run"]["place"]]
        if "judged" not in line:
            verdict = f"refused: shifted by {line['shift_px']}"
            print(f"| {run['place']} | {line['given']} | {run['preset']} | {run['seed']} | | {verdict} | | | |")
            continue
        told = []
        for kind in ("click", "three_clicks", "box"):
            low, mean, high = interval(line["judged"][kind], start[kind])
            told.append(f"{mean:+.3f} ({low:+.3f} to {high:+.3f})")
            worse += line["accepted"] and high < 0
        verdict = "accepted" if line["accepted"] else "refused"
        print(
            f"| {run['place']} | {line['given']} | {run['preset']} | {run['seed']} | {line['held_out']} | {verdict} | "
            f"{' | '.join(told)} |"
        )
    accepted, seconds = sum(line["accepted"] for line in lines), sum(line["seconds"] for line in lines)
    print(f"\n{accepted} of {len(lines)} runs accepted, {seconds:.0f} seconds of processor time.")
    print(f"Kinds of prompts of accepted runs that are worse on the judging images, with an upper bound below 0: {worse}.")


def interval(after: Sequence[float], before: Sequence[float]) -> tuple[float, float, float]:
    differences = np.array(after) - np.array(before)
    low, high = np.quantile(bootstrap_means(differences[None], 0)[0], (0.025, 0.975))
    return float(low), float(differences.mean()), float(high)


def shifted_table(lines: Sequence[Mapping]) -> None:
    print(
        "\n| place | check | refused | of them by the check | gain of boxes in the comparison, by runs |\n" + "|---" * 5 + "|"
    )
    for place, check in dict.fromkeys((line["run"]["place"], line["run"]["check_shift"]) for line in lines):
        own = [line for line in lines if (line["run"]["place"], line["run"]["check_shift"]) == (place, check)]
        refused = sum(not line["accepted"] for line in own)
        noticed = sum(line["shift_px"] is not None for line in own)
        gains = ", ".join(f"{line['compared']['box'][1] - line['compared']['box'][0]:+.3f}" for line in own if line["compared"])
        name = "shift and comparison" if check else "comparison alone"
        print(f"| {place} | {name} | {refused} of {len(own)} | {noticed} | {gains} |")


if __name__ == "__main__":
    main()
