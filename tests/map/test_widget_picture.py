"""The picture under the objects, and the messages that an action sends to the browser."""

import base64
import io
import json
from dataclasses import replace
from pathlib import Path

import ipyleaflet
import numpy as np
import pytest
from comm.base_comm import BaseComm
from map_driving import (
    Mouse,
    PartsOracle,
    accept,
    is_error,
    place_of,
    press,
    send,
    show_in_browser,
    status,
)
from map_scene import LABELS, POINTS
from PIL import Image

import samgeo
from samgeo.errors import OptionError, RasterError
from samgeo.map.widget import Map
from samgeo.testing import encode_ids


def test_the_picture_follows_the_view_and_stays_during_clicks(make) -> None:
    m = make()
    assert m.wait(60)
    (base,) = m.drawing.pictures.shown
    south, west, north, east = place_of(m).bounds
    assert np.array(base.bounds) == pytest.approx(np.array([[south, west], [north, east]]), abs=1e-4)
    middle = ((south + north) / 2, (west + east) / 2)
    for share in (0.4, 0.3, 0.2, 0.1):
        half = share / 2 * (north - south), share / 2 * (east - west)
        show_in_browser(m, (middle[0] - half[0], middle[1] - half[1], middle[0] + half[0], middle[1] + half[1]))
        assert m.wait(60)
    shown = m.drawing.pictures.shown
    assert len(shown) == 3
    assert shown[0] is base
    (low, left), (high, right) = shown[-1].bounds
    assert (high - low, right - left) == pytest.approx((0.1 * (north - south), 0.1 * (east - west)), rel=0.01)
    accept(m, 0)
    assert m.wait(60)
    assert m.drawing.pictures.shown == shown


def test_moves_in_a_row_are_drawn_once(make, monkeypatch: pytest.MonkeyPatch) -> None:
    m = make()
    assert m.wait(60)
    south, west, north, east = place_of(m).bounds
    for step in range(20):
        show_in_browser(m, (south, west, north - step * (north - south) / 40, east))
    assert m.wait(60)
    assert len(m.drawing.pictures.shown) <= 3
    assert m.drawing.pictures.shown[-1].bounds[1][0] == pytest.approx(north - 19 * (north - south) / 40, abs=1e-5)


def test_the_first_view_of_a_browser_is_filled_and_later_ones_are_left_alone(make) -> None:
    m = make()
    before = m.leaflet.zoom
    show_in_browser(m, place_of(m).bounds, size=(3600, 2400))
    assert m.leaflet.zoom > before
    m.leaflet.zoom = before
    show_in_browser(m, place_of(m).bounds, size=(3601, 2400))
    assert m.leaflet.zoom == before


def test_a_fine_screen_gets_a_picture_as_fine(make) -> None:
    m = make()
    assert m.wait(60)
    show_in_browser(m, place_of(m).bounds)
    send(m.front, {"kind": "screen", "ratio": 2})
    assert m.wait(60)
    coarse = wide(m)
    show_in_browser(m, place_of(m).bounds, size=(400, 300))
    assert m.wait(60)
    assert wide(m) == pytest.approx(coarse / 2, abs=2)
    send(m.front, {"kind": "screen", "ratio": 1})
    assert m.wait(60)
    assert wide(m) == pytest.approx(coarse / 4, abs=2)
    for nonsense in (0, -1, float("nan"), 1e9, "2", None):
        send(m.front, {"kind": "screen", "ratio": nonsense})
    assert m.wait(60)
    assert wide(m) == pytest.approx(coarse / 4, abs=2)
    assert not is_error(m)


def wide(m: Map) -> int:
    """The width of the picture on top, in its own pixels."""
    url = m.drawing.pictures.shown[-1].url
    return Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).width


def test_a_picture_that_cannot_be_drawn_is_said(make, image: Path) -> None:
    class Damaged:
        def __getattr__(self, name):
            return getattr(raster.source, name)

        def read(self, numbers, rect, out_shape=None):
            if out_shape is not None:
                raise RasterError("the file is cut short")
            return raster.source.read(numbers, rect)

    raster = samgeo.Raster.open(image)
    m = make(replace(raster, source=Damaged()))
    assert m.wait(60)
    assert (status(m), is_error(m)) == ("the file is cut short", True)
    assert m.drawing.pictures.shown == ()
    accept(m, 0)
    assert status(m) == "accepted object 1 as roof"


def test_a_click_sends_little_and_no_picture(make, monkeypatch: pytest.MonkeyPatch) -> None:
    m = make()
    for number in range(6):
        accept(m, number)
    assert m.wait(60)
    sent: list[str] = []
    monkeypatch.setattr(BaseComm, "send", lambda self, data=None, **others: sent.append(json.dumps(data)))
    Mouse(m).click(POINTS[7])
    assert 0 < sum(map(len, sent)) < 12_000
    assert not any("data:image" in one for one in sent)
    # The others that are accepted are not sent again for it.
    assert not any("samgeo-object" in one for one in sent)


def test_an_action_is_told_in_few_messages(make, monkeypatch: pytest.MonkeyPatch) -> None:
    m = make(model=PartsOracle())
    mouse = Mouse(m)
    assert m.wait(60)
    sent: list[dict] = []
    monkeypatch.setattr(BaseComm, "send", lambda self, data=None, **others: sent.append(data))
    counts = {}
    for name, act in {
        "click": lambda: mouse.click(POINTS[0]),
        "candidate": lambda: press(m, "candidate-1"),
        "accept": lambda: press(m, "accept"),
        "undo": lambda: press(m, "undo"),
        "mode": lambda: press(m, "mode-select"),
    }.items():
        sent.clear()
        act()
        counts[name] = len(sent)
    # Each is one turn of the channel: on a slow connection they add up. The bars of the candidates, the next step and
    # the position of the mouse have one each.
    assert counts["click"] <= 12
    assert counts["candidate"] <= 4
    assert counts["accept"] <= 13
    assert counts["undo"] <= 14
    assert counts["mode"] <= 4


def test_nothing_is_asked_of_the_network_unless_there_is_a_basemap(make) -> None:
    assert not any(isinstance(layer, ipyleaflet.TileLayer) for layer in make().leaflet.layers)
    tiles = ipyleaflet.TileLayer(url="http://127.0.0.1:9/{z}/{x}/{y}.png")
    assert make(basemap=tiles).leaflet.layers[0] is tiles
    assert "openstreetmap.org" in make(basemap="OpenStreetMap.Mapnik").leaflet.layers[0].url
    with pytest.raises(OptionError, match="no position on the earth"):
        make(encode_ids(LABELS), basemap=tiles)
