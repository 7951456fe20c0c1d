"""Construction of buildings: outlines, roofs and roof materials."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from samgeo.synthetic.plan import Building, Colour, Wing, rectangle

__all__ = ["House", "hall", "outbuilding", "roof_colour", "row_house", "slab"]

_COLOURS: dict[str, list[Colour]] = {
    "tile": [
        (160, 102, 80), (146, 90, 72), (172, 120, 96), (130, 88, 74), (122, 98, 86), (104, 94, 90), (158, 114, 90),
        (148, 104, 92),
    ],
    "slate": [(92, 94, 100), (110, 108, 108), (80, 82, 86), (124, 120, 114)],
    "metal": [
        (172, 176, 178), (150, 154, 156), (88, 122, 154), (150, 84, 74), (126, 142, 124), (196, 196, 190), (136, 112, 98),
        (108, 136, 160), (162, 96, 84), (132, 124, 114), (204, 203, 198), (182, 182, 178),
    ],
    "concrete": [(168, 162, 152), (150, 146, 138), (186, 180, 168), (136, 130, 122), (174, 160, 140), (198, 192, 182)],
    "bitumen": [(92, 90, 90), (108, 106, 104), (124, 120, 116)],
}  # fmt: skip


def roof_colour(cover: str, rng: np.random.Generator) -> Colour:
    """Draw a colour for a roof material."""
    base = np.array(_COLOURS[cover][int(rng.integers(len(_COLOURS[cover])))])
    varied = base * rng.normal(1, 0.07) + rng.normal(0, 1.8, 3)
    return float(varied[0]), float(varied[1]), float(varied[2])


@dataclass(frozen=True, slots=True, eq=False)
class House:
    """Position and size of a detached house.

    Attributes
    ----------
    centre : ndarray, shape (2,)
    along, inwards : ndarray, shape (2,)
        Unit vectors along the front of the house, and from the street to the garden.
    length, width : float
        Length and width of the main part in metres.
    """

    centre: NDArray[np.float64]
    along: NDArray[np.float64]
    inwards: NDArray[np.float64]
    length: float
    width: float

    def build(self, rng: np.random.Generator) -> Building:
        """Build a house in the shape of a rectangle, an L or a T, with gabled, hipped or flat roofs."""
        cover = str(rng.choice(["tile", "slate", "metal", "concrete"], p=[0.56, 0.16, 0.16, 0.12]))
        roof = "flat" if cover == "concrete" else str(rng.choice(["gable", "hip"], p=[0.55, 0.45]))
        eave, pitch = float(rng.uniform(2.7, 5.6)), float(rng.uniform(0.35, 0.75)) if cover != "metal" else 0.25
        wings = [Wing(*rectangle(self.centre, self.along, self.length / 2, self.width / 2), roof, eave, pitch)]
        shape = str(rng.choice(["rectangle", "L", "T"], p=[0.4, 0.4, 0.2]))
        if shape != "rectangle" and self.length > 8.5:
            side, out = float(rng.uniform(0.42, 0.58) * self.length), float(rng.uniform(2.2, 4.6))
            shift = 0.0 if shape == "T" else float(rng.choice([-1, 1])) * (self.length - side) / 2
            if rng.random() < 0.5:
                out *= -0.6  # to the street, where there is less room
            # The wing extends across the main part, so that the two roofs meet in valleys.
            middle = self.centre + self.along * shift + self.inwards * (out / 2)
            wings.append(Wing(*rectangle(middle, self.inwards, (abs(out) + self.width) / 2, side / 2), roof, eave, pitch))
        return _building(wings, cover, roof_colour(cover, rng))


def row_house(corners: NDArray[np.float64], cover: str, colour: Colour, *, roof: str, eave: float, pitch: float) -> Building:
    """Return a building on a quadrilateral (front, front, back, back), ridge along the front; neighbours share corners."""
    centre = corners.mean(axis=0)
    along = (corners[1] + corners[2] - corners[0] - corners[3]) / 4
    across = (corners[2] + corners[3] - corners[0] - corners[1]) / 4
    wing = Wing(_pair(centre), _pair(along), _pair(across), roof, eave, pitch)
    return Building(shapely.Polygon(corners), (wing,), cover, colour)


def slab(
    centre: NDArray[np.float64], along: NDArray[np.float64], size: tuple[float, float], rng: np.random.Generator
) -> Building:
    """Return a block of flats of this length and width."""
    cover = str(rng.choice(["concrete", "bitumen", "tile"], p=[0.5, 0.3, 0.2]))
    roof = "hip" if cover == "tile" else "flat"
    wing = Wing(*rectangle(centre, along, size[0] / 2, size[1] / 2), roof, float(rng.uniform(9, 15)), 0.45)
    return _building([wing], cover, roof_colour(cover, rng))


def hall(
    centre: NDArray[np.float64], along: NDArray[np.float64], size: tuple[float, float], rng: np.random.Generator
) -> Building:
    """Return an industrial hall of this length and width: corrugated metal in bays of about 14 m, or a flat roof."""
    (length, width), eave = size, float(rng.uniform(5, 8))
    if rng.random() < 0.3:
        wing = Wing(*rectangle(centre, along, length / 2, width / 2), "flat", eave, 0.0)
        return _building([wing], str(rng.choice(["bitumen", "concrete"])), roof_colour("concrete", rng))
    bays = max(round(width / 14), 1)
    square = np.array([-along[1], along[0]])
    middles = [centre + square * ((bay + 0.5) / bays - 0.5) * width for bay in range(bays)]
    wings = [Wing(*rectangle(middle, along, length / 2, width / bays / 2), "gable", eave, 0.2) for middle in middles]
    return _building(wings, "metal", roof_colour("metal", rng))


def outbuilding(
    centre: NDArray[np.float64], along: NDArray[np.float64], size: tuple[float, float], rng: np.random.Generator
) -> Building:
    """Return a shed or a garage of this length and width."""
    cover = str(rng.choice(["metal", "concrete", "tile"], p=[0.5, 0.25, 0.25]))
    roof = {"metal": "shed", "concrete": "flat", "tile": "gable"}[cover]
    eave, pitch = float(rng.uniform(2.2, 2.8)), 0.15 if roof == "shed" else 0.4
    wing = Wing(*rectangle(centre, along, size[0] / 2, size[1] / 2), roof, eave, pitch)
    return _building([wing], cover, roof_colour(cover, rng))


def _building(wings: list[Wing], cover: str, colour: Colour) -> Building:
    # A grid of 0.1 mm closes the seams that rounding leaves between bays.
    polygon = shapely.union_all([wing.polygon for wing in wings], grid_size=1e-4)
    if not isinstance(polygon, shapely.Polygon):
        return Building(wings[0].polygon, (wings[0],), cover, colour)
    return Building(polygon, tuple(wings), cover, colour)


def _pair(vector: NDArray[np.float64]) -> tuple[float, float]:
    return float(vector[0]), float(vector[1])
