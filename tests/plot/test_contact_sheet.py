"""Each place of a sheet shows its own piece of the raster, with its outline where the object is."""

import numpy as np
import pytest
from affine import Affine
from shapely import box, unary_union
from shapely.affinity import affine_transform

from samgeo.errors import OptionError
from samgeo.geo.raster.raster import Raster
from samgeo.plot.contact_sheet import GAP_PX, TILE_PX, SheetEntry, contact_sheet
from samgeo.testing.rasters import TRANSFORMS, write_raster

GREEN, GREY = (0, 255, 0), (90, 90, 90)


def tiles(picture):
    """The squares of a sheet without a title, row by row."""
    pixels, step = np.asarray(picture), TILE_PX + GAP_PX
    for y in range(GAP_PX, pixels.shape[0] - TILE_PX, step + 18):
        for x in range(GAP_PX, pixels.shape[1] - TILE_PX + 1, step):
            yield pixels[y : y + TILE_PX, x : x + TILE_PX]


@pytest.mark.parametrize("name", sorted(TRANSFORMS))
def test_a_place_is_in_the_middle_of_its_tile(name, tmp_path):
    pixels = np.full((300, 400, 3), 120, np.uint8)
    pixels[100:160, 200:260] = (200, 30, 30)
    write_raster(tmp_path / "image.tif", pixels, transform=Affine(*TRANSFORMS[name]))
    place = SheetEntry(((affine_transform(box(200, 100, 260, 160), Affine(*TRANSFORMS[name]).to_shapely()), GREEN),))
    (tile,) = tiles(contact_sheet(Raster.open(tmp_path / "image.tif"), [place]))
    # The object is half as wide as the tile: 60 of 240 pixels on each side are its surroundings.
    assert (tile[70:170, 70:170] == (200, 30, 30)).all()
    assert (tile[:56] == 120).all()
    green = np.argwhere((tile == GREEN).all(axis=2))
    assert np.abs(green.min(axis=0) - 60).max() <= 2
    assert np.abs(green.max(axis=0) - 180).max() <= 2


def test_tiles_stand_in_rows_and_what_is_off_the_raster_is_a_checkerboard():
    raster = Raster.open(np.full((200, 200, 3), 120, np.uint8))
    places = [SheetEntry(((box(x, 80, x + 40, 120), GREEN),), f"at {x}") for x in (80, 20, 300, 80, 80)]
    found = list(tiles(contact_sheet(raster, places, columns=3)))
    assert len(found) == 6
    assert (found[0] == 120).all(axis=2).mean() > 0.9
    assert not (found[2] == 120).all(axis=2).any()
    np.testing.assert_array_equal(found[0], found[3])
    assert (found[5] == 255).all()


def test_context_is_drawn_beneath_and_holes_are_outlines():
    raster = Raster.open(np.full((200, 200, 3), 120, np.uint8))
    ring = unary_union([box(60, 60, 140, 140)]).difference(box(80, 80, 120, 120))
    (tile,) = tiles(contact_sheet(raster, [SheetEntry(((ring, GREEN),), context=((ring, GREY), (box(0, 0, 50, 50), GREY)))]))
    assert (tile == GREY).all(axis=2).sum() > 20
    green = (tile == GREEN).all(axis=2)
    assert green[120].sum() == 8  # both rings, left and right, two pixels each


def test_large_places_are_shown_in_part_without_reading_all():
    raster = Raster.open(np.full((200, 9000, 3), 120, np.uint8))
    (tile,) = tiles(contact_sheet(raster, [SheetEntry(((box(0, 0, 9000, 200), GREEN),))]))
    assert (tile[TILE_PX // 2] == 120).all()


@pytest.mark.parametrize(("places", "columns"), [([], 4), ([SheetEntry(((box(0, 0, 1, 1), GREEN),))], 0)])
def test_a_sheet_of_nothing_is_refused(places, columns):
    with pytest.raises(OptionError, match="at least one"):
        contact_sheet(Raster.open(np.zeros((9, 9), np.uint8)), places, columns=columns)
