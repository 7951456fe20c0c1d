"""Oddness and classes of objects in generated towns.

    python benchmarks/bench_objects.py oddness [--seeds 20:30] [--picture FILE]
    python benchmarks/bench_objects.py classify [--seeds 20:25] [--picture FILE]

Oddness: in each town three roofs of 100 get another colour, and their ranks by oddness are counted. In the unchanged town, a
tree, a car and a piece of road are added to the 100 roofs instead.

Classes: a number of examples of each class is drawn, and the share of the other objects of the town is counted that get their
class. The classes are the covers of roofs, or buildings, trees, cars and grass.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from rasterio.features import shapes
from scipy import ndimage

import samgeo
from samgeo.models import keep_freed_memory
from samgeo.objects import Classifier, describe
from samgeo.objects.classify import REGULARISATION
from samgeo.objects.features import COLORS, EMBEDDING
from samgeo.objects.oddness import EMBEDDING_SCALE, SHAPE_SCALE, nearest
from samgeo.objects.space import FeatureSpace
from samgeo.synthetic import Scene, town

keep_freed_memory()  # as the command line does

TINTS = ((0.35, 0.5, 1.0), (0.4, 0.9, 0.45), (0.9, 0.35, 0.8))
STRANGERS = {"tree": (100, 900), "car": (50, 400), "road": (1500, 10**9)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["oddness", "classify"])
    parser.add_argument("--seeds", help="first seed of the towns, and the one after the last")
    parser.add_argument("--picture", type=Path, help="where to write a picture of the first town")
    options = parser.parse_args()
    run, seeds = (oddness, "20:30") if options.what == "oddness" else (classify, "20:25")
    first, last = map(int, (options.seeds or seeds).split(":"))
    run(range(first, last), options.picture)


def oddness(seeds: range, picture: Path | None) -> None:
    found: dict[tuple[str, str], list[int]] = {}
    for seed in seeds:
        scene, rng = town((1024, 1024), seed=seed), np.random.default_rng(seed)
        roofs = scene.footprints[scene.footprints.area > 20]
        roofs = roofs.iloc[np.sort(rng.permutation(len(roofs))[:100])].reset_index(drop=True)
        odd = rng.choice(len(roofs), 3, replace=False)
        changed = saved(scene, recolored(scene, roofs["id"].to_numpy()[odd]))
        others = gpd.GeoDataFrame(geometry=strangers(scene, rng), crs=roofs.crs)
        mixed = pd.concat([roofs, others], ignore_index=True)
        layers = {
            "recoloured": (describe(changed, roofs, color=True), odd),
            "strangers": (describe(saved(scene, scene.image), mixed, color=True), np.arange(len(roofs), len(mixed))),
        }
        for kind, (features, rows) in layers.items():
            for space, distances in by_space(features).items():
                ranks = np.argsort(np.argsort(-distances)) + 1
                found.setdefault((space, kind), []).extend(ranks[rows].tolist())
        if picture is not None and seed == seeds[0]:
            result = samgeo.oddness(roofs, changed)
            samgeo.show(changed, result.nlargest(5, "oddness"), picture, fill=False, overwrite=True)
    spaces = list(dict.fromkeys(space for space, _ in found))
    print("| features | recoloured roofs among the top 5 | lowest rank | other objects among the top 5 | lowest rank |")
    print("|---|---|---|---|---|")
    for space in spaces:
        cells = []
        for kind in ("recoloured", "strangers"):
            ranks = np.array(found[space, kind])
            cells += [f"{(ranks <= 5).sum()} of {len(ranks)}", str(ranks.max())]
        print(f"| {space} | {' | '.join(cells)} |")


def by_space(features: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return the distances to the neighbours in several spaces."""
    pooled = [name for name in features if name.startswith(EMBEDDING)]
    shape = [name for name in features if name not in pooled and name not in COLORS]
    scales = {"embedding_scale": EMBEDDING_SCALE, "shape_scale": SHAPE_SCALE}
    spaces = {
        "embedding": (pooled, {}),
        "shape": (shape, {}),
        "colour": (list(COLORS), {}),
        "embedding and shape, as in selection": (pooled + shape, {}),
        "all three, weights as in selection": (list(features), {}),
        "all three, weights of `oddness`": (list(features), scales),
    }
    return {
        name: nearest(FeatureSpace.fit(features[columns], **weights).place(features[columns])[0], 5).mean(axis=1)
        for name, (columns, weights) in spaces.items()
    }


def classify(seeds: range, picture: Path | None) -> None:
    found: dict[tuple[str, int, str], list[tuple[float, float]]] = {}
    for seed in seeds:
        scene = town((1024, 1024), seed=seed)
        image, layer = saved(scene, scene.image), things(scene)
        features = describe(image, layer, color=True)
        for task, counts in COUNTS.items():
            for count in counts:
                classify_town(seed, layer[task], features, count, found)
        if picture is not None and seed == seeds[0]:
            draw_classes(scene, image, picture)
    print("| classes | examples of each | most frequent class | " + " | ".join(SPACES) + " |")
    print("|---|---|---|" + "---|" * len(SPACES))
    for task, counts in COUNTS.items():
        for count in counts:
            cells = []
            for space in SPACES:
                right = np.array([one for one, _ in found[task, count, space]])
                cells.append(f"{right.mean():.3f} ± {right.std():.3f}")
            most = np.mean([one for _, one in found[task, count, SPACES[0]]])
            print(f"| {task} | {count} | {most:.3f} | {' | '.join(cells)} |")


def classify_town(
    seed: int,
    truth: pd.Series,
    features: pd.DataFrame,
    count: int,
    found: dict[tuple[str, int, str], list[tuple[float, float]]],
) -> None:
    """Add the accuracy and the share of the most frequent class of some draws of examples to the results."""
    sizes = truth.value_counts()
    kept = truth.isin(sizes.index[sizes >= count + 10]).to_numpy() & np.isfinite(features).all(axis=1).to_numpy()
    names, described = truth[kept].to_numpy(dtype=object), features[kept]
    for draw in range(DRAWS):
        rng = np.random.default_rng([seed, count, draw])
        given = np.full(len(names), None, dtype=object)
        for name in sorted(set(names)):
            given[rng.permutation(np.flatnonzero(names == name))[:count]] = name
        others = np.equal(given, None)
        most = pd.Series(names[others]).value_counts(normalize=True).iloc[0]
        for space, columns in chosen(described).items():
            model = Classifier.fit(described[columns], given.tolist(), regularization=REGULARISATION)
            best = model.probabilities(described[columns]).idxmax(axis=1).to_numpy()
            found.setdefault((str(truth.name), count, space), []).append((float((best == names)[others].mean()), most))


COUNTS = {"cover": (5, 10, 20), "kind": (5, 20)}
SPACES = ("all features", "without colour", "without embedding")
DRAWS = 5
KINDS = {"tree": (60, 900), "car": (50, 400), "grass": (200, 10**9)}


def chosen(features: pd.DataFrame) -> dict[str, list[str]]:
    """Return the columns of each choice of features."""
    return {
        "all features": list(features),
        "without colour": [name for name in features if name not in COLORS],
        "without embedding": [name for name in features if not name.startswith(EMBEDDING)],
    }


def things(scene: Scene) -> gpd.GeoDataFrame:
    """Return the buildings, trees, cars and lawns of a town, with the columns ``kind`` and ``cover``."""
    roofs = scene.footprints[(scene.footprints.area > 15) & (scene.footprints.geom_type == "Polygon")]
    parts = [roofs[["cover", "geometry"]].assign(kind="building")]
    for name, (least, most) in KINDS.items():
        labels, count = ndimage.label(scene.classes == scene.class_names.index(name))
        sizes = np.bincount(labels.ravel(), minlength=count + 1)
        labels[~np.isin(labels, [number for number in range(1, count + 1) if least <= sizes[number] <= most])] = 0
        drawn = shapes(labels.astype(np.int32), labels > 0, transform=scene.geobox.affine)
        outlines = [shapely.geometry.shape(one) for one, _ in drawn]
        parts.append(gpd.GeoDataFrame(geometry=outlines, crs=roofs.crs).assign(kind=name))
    return pd.concat(parts, ignore_index=True)


def draw_classes(scene: Scene, image: Path, picture: Path) -> None:
    """Draw the covers of all roofs by ten examples of each."""
    roofs = scene.footprints[(scene.footprints.area > 15) & (scene.footprints.geom_type == "Polygon")].reset_index(drop=True)
    rows = roofs.groupby("cover").sample(frac=1, random_state=0).groupby("cover").head(10).index
    result = samgeo.classify(roofs.assign(known=roofs["cover"].where(roofs.index.isin(rows))), image, "known")
    samgeo.show(image, result, picture, column="class", overwrite=True)


def recolored(scene: Scene, ids: np.ndarray) -> np.ndarray:
    """Return the image of a town in which the roofs with the given ids are blue, green and magenta."""
    image = scene.image.copy()
    for tint, number in zip(TINTS, ids.tolist(), strict=True):
        roof = scene.labels == number
        image[roof] = np.clip(1.3 * image[roof].mean(axis=1, keepdims=True) * np.array(tint), 0, 255).astype(np.uint8)
    return image


def strangers(scene: Scene, rng: np.random.Generator) -> list[shapely.Geometry]:
    """Return the outlines of a tree, a car and a piece of road."""
    found = []
    for name, (least, most) in STRANGERS.items():
        labels, count = ndimage.label(scene.classes == scene.class_names.index(name))
        sizes = np.bincount(labels.ravel(), minlength=count + 1)
        mask = labels == rng.choice([number for number in range(1, count + 1) if least <= sizes[number] <= most])
        if name == "road":  # A square around some pixel of the road is cut out.
            row, column = rng.choice(np.argwhere(mask))
            square = np.zeros_like(mask)
            square[max(row - 20, 0) : row + 20, max(column - 20, 0) : column + 20] = True
            mask &= square
        parts = [shapely.geometry.shape(one) for one, _ in shapes(mask.astype("uint8"), mask, transform=scene.geobox.affine)]
        found.append(max(parts, key=shapely.area))
    return found


def saved(scene: Scene, image: np.ndarray) -> Path:
    """Write an image on the grid of a scene to a temporary file."""
    return replace(scene, image=image).save(Path(tempfile.mkdtemp()) / "town.tif")


if __name__ == "__main__":
    main()
