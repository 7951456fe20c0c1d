"""Pictures of several dates: what changed between two, and tracks over six."""

from __future__ import annotations

from drawing import BLUE, GREEN, ORANGE, RED, beside, enlarged, painted, tagged
from PIL import Image
from registry import folder, picture
from tutorial import by_id

import samgeo
from samgeo.synthetic import dates, two_dates


@picture("change.jpg")
def change() -> Image.Image:
    """Draw what `samgeo.change` says of the footprints of both dates, in another light and season."""
    pair, place = two_dates((448, 448), seed=9, light="other", season=0.8, haze=0.2), folder()
    images = pair.before.save(place / "before.tif"), pair.after.save(place / "after.tif")
    result = samgeo.change(*images, objects=[pair.before.footprints, pair.after.footprints], progress=False)
    colors = {"same": BLUE, "changed": ORANGE, "vanished": RED, "appeared": GREEN}
    of_kind = [(kind, result.geometry[result.kind == kind], color) for kind, color in colors.items()]
    before = painted(pair.before, [(shapes, color) for kind, shapes, color in of_kind if kind != "appeared"])
    after = painted(pair.after, [(shapes, color) for kind, shapes, color in of_kind if kind != "vanished"])
    return beside([tagged(enlarged(before, 1.2), "before"), tagged(enlarged(after, 1.2), "after")])


@picture("track.jpg")
def track() -> Image.Image:
    """Draw one colour for each id at six dates."""
    years, place = [str(2015 + number) for number in range(6)], folder()
    series = dates((256, 320), len(years), seed=11, births=0.3, deaths=0.2, gaps=0.1, season=0.5, haze=0.2)
    images = {year: scene.save(place / f"{year}.tif") for year, scene in zip(years, series.scenes, strict=True)}
    rows = samgeo.track(images, objects=[scene.footprints for scene in series.scenes], progress=False)
    panels = [tagged(enlarged(one, 1.2), year) for year, one in zip(years, by_id(images, rows), strict=True)]
    return beside(panels, columns=3)
