"""The map in a notebook. It draws an annotation session, and turns clicks and buttons into actions of the session."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from samgeo.arguments import check_types
from samgeo.errors import OptionError
from samgeo.geo.raster.raster import Raster
from samgeo.map.background import Background
from samgeo.map.closing import close_widgets, replace_earlier
from samgeo.map.editing.controller import MapEditing
from samgeo.map.searches_in_view import MapSearches
from samgeo.map.session import Session
from samgeo.map.state.clean_options import AS_DRAWN, CleanOptions, check_overlap
from samgeo.map.state.live_state import Snapshot
from samgeo.map.state.restore import check_classes, check_files
from samgeo.map.ui.browser_part import library, make_front
from samgeo.map.ui.gestures import Hand
from samgeo.map.ui.latest_worker import Latest
from samgeo.map.ui.messages import KINDS
from samgeo.map.ui.pointer import Box, Draft, Point, Pointer
from samgeo.map.ui.redraw import Drawing
from samgeo.map.view.map_coordinates import MapPlacement
from samgeo.map.view.screen import fit, in_view, make_leaflet, read_basemap, view_of_raster
from samgeo.map.view.still_picture import still_picture
from samgeo.map.view.tiles import KERNEL, check_tiles, tile_layer
from samgeo.map.view.viewport import MAX_SIDE, View
from samgeo.segmentation.masks.cleaning import MIN_HOLE, MIN_PART
from samgeo.segmentation.predictor import Predictor
from samgeo.types import BandsLike, FeaturesLike, Json, RasterLike, StretchLike

if TYPE_CHECKING:
    import geopandas as gpd
    import ipyleaflet
    import torch

    from samgeo.models.protocols import Segmenter

__all__ = ["Map"]

LIBRARIES = ("ipywidgets", "ipyleaflet", "anywidget")
CLICK_LIBRARIES = ("geopandas", "scipy.sparse.csgraph")

# A mouse wheel sends several zoom events in a row: the picture is drawn after the last one.
SETTLE_S = 0.04

HEIGHTS_PX = (200, 4000)

ROOM = 3
"""An object that is chosen in the table takes this part of the map at most, along each side."""

ASKING = "asking the model"

NEEDS_SELECTED = ("add", "cut", "vertices", "split", "merge")
"""Modes that change the selected object."""


class Map(MapSearches):
    """A map in the notebook on which an analyst clicks on the objects of a raster.

    The picture and all shapes go through the notebook's own channel: by default the map opens no server and no port, and uses
    no network. All state is in ``session``, and the map draws it. To show the map, make it the last expression of a cell.

    Parameters
    ----------
    image : path, URL, STAC Item, sequence of these, xarray.DataArray, ndarray or Raster
        See `samgeo.Raster.open`. Large files without overviews are only drawn when the map is zoomed in.
    model : str, path or Segmenter, default "tiny"
        A name of `samgeo.list_models`, a checkpoint file, or a model.
    classes : sequence of str, optional
        The palette. By default that of the autosaved file, or ("object",) where there is none.
    autosave : path, optional
        A GeoPackage, written after each change. If it exists, the map starts with its objects. Other maps and programs may
        change it at the same time: see `samgeo.map.session.Session`.
    log : path, optional
        A file of JSON lines to which every action is appended. `Session.replay` repeats a session from it.
    cache : path, optional
        A store of embeddings, see `samgeo.encode`. It is created if it does not exist.
    device, dtype, bands, stretch, nodata, alpha, invented, window, overlap, min_part, min_hole : optional
        See `samgeo.Predictor`.
    basemap : str, TileLayer or basemap of ipyleaflet, optional
        A background that is drawn under the raster, such as "OpenStreetMap.Mapnik" or "Esri.WorldImagery"; the browser loads it
        from the network. The names are those of ``ipyleaflet.basemaps``. None by default.
    tiles : {"kernel", "localtileserver"}, default "kernel"
        Which program draws the raster. "localtileserver" works for a single georeferenced file on this machine. It starts a
        server on a local port, and is installed with the extra ``tiles``.
    threads : int or None, default 1
        Number of threads that torch uses on a CPU, and number of windows that `segment_view` segments at the same time. One
        thread answers clicks fast even on a shared machine, where several threads would wait for each other; a large model
        on idle cores is faster with more. None uses torch's own default. A log is replayed to the last bit only with the
        same number of threads.
    clean, on_overlap : optional
        How outlines are cleaned before they are accepted, and what happens where they overlap accepted objects; see
        `samgeo.map.Session`.
    height : int, default 600
        Height of the map in pixels.

    Attributes
    ----------
    session : Session
        The objects and the history. Actions on it, also from code, are drawn on the map.
    widget : ipywidgets.VBox
        The map as a widget, to use in another layout.

    Raises
    ------
    SamgeoError
        If the extra ``map`` is not installed, or the raster, the model, a file or an option cannot work.
    """

    @check_types
    def __init__(
        self,
        image: RasterLike,
        model: str | Path | Segmenter = "tiny",
        *,
        classes: tuple[str, ...] | list[str] | None = None,
        autosave: str | os.PathLike[str] | None = None,
        log: str | os.PathLike[str] | None = None,
        cache: str | os.PathLike[str] | None = None,
        device: str | torch.device = "auto",
        dtype: str = "auto",
        bands: BandsLike = None,
        stretch: StretchLike = None,
        nodata: float | str | None = None,
        alpha: int | str | None = None,
        invented: str | None = None,
        window: int | None = None,
        overlap: int | None = None,
        basemap: str | ipyleaflet.Layer | Mapping[str, Any] | None = None,
        tiles: str = "kernel",
        min_part: float = MIN_PART,
        min_hole: float = MIN_HOLE,
        threads: int | None = 1,
        clean: CleanOptions = AS_DRAWN,
        on_overlap: str = "cut",
        height: int = 600,
    ) -> None:
        for name in LIBRARIES:
            library(name)
        if not isinstance(height, int | np.integer) or not HEIGHTS_PX[0] <= height <= HEIGHTS_PX[1]:
            raise OptionError(f"height is {height!r}; give a whole number of pixels from {HEIGHTS_PX[0]} to {HEIGHTS_PX[1]}.")
        if classes is not None:
            check_classes(classes)
        check_overlap(on_overlap)
        check_files(log, autosave, cache)
        background = read_basemap(basemap)
        opened = Raster.open(image, bands=bands, stretch=stretch, nodata=nodata, alpha=alpha, invented=invented)
        self._place = MapPlacement.of(opened.geobox)
        check_tiles(tiles, opened, self._place)
        predictor = Predictor(
            opened,
            model=model,
            device=device,
            dtype=dtype,
            window=window,
            overlap=overlap,
            cache=cache,
            min_part=min_part,
            min_hole=min_hole,
            threads=threads,
        )
        self.session: Session = Session(
            predictor, classes=classes, log=log, autosave=autosave, clean=clean, on_overlap=on_overlap
        )
        self._hand = Hand(self.session, self._place)
        self._pointer = Pointer()
        self._class = 0
        self._exported: set[Path] = set()
        self._fitted = False
        self._ratio = 1.0
        self._is_drawn_here = tiles == KERNEL
        self.leaflet = make_leaflet(self._place, background, height)
        self._first = self.leaflet.center, self.leaflet.zoom
        tiled = None if self._is_drawn_here else tile_layer(opened)
        self.drawing = Drawing(self.session, self._place, self.leaflet, self._act, tiled)
        self._views = Latest(self.drawing.show_view, SETTLE_S)
        self._coordinates: Latest[tuple[float, float]] = Latest(self._show_coordinates, SETTLE_S)
        self._background = {kind: Background(kind, self.drawing) for kind in KINDS}
        self.leaflet.on_interaction(self._on_interaction)
        self.leaflet.observe(self._on_move, names=["bounds", "pixel_bounds"])
        self.front = make_front(self._on_key, self._select_row, self._on_screen, self.drawing.leave)
        self._editing = MapEditing(self._hand, self.leaflet, self.drawing, self.front, self._is_idle)
        self.drawing.looked = self._editing.redraw
        self.widget = self.drawing.around(self.front, height)
        self._set_mode(self._pointer.mode)
        self._set_class(0)
        self._unsubscribe = self.session.subscribe(self._follow)
        self.drawing.show(self.session.snapshot)
        self._show(view_of_raster(self._place))
        replace_earlier(self)
        threading.Thread(target=self._prepare, daemon=True, name="samgeo-map-prepare").start()

    @property
    def accepted(self) -> gpd.GeoDataFrame:
        """The accepted objects, as `Session.to_frame` returns them."""
        return self.session.to_frame()

    def add(self, features: FeaturesLike) -> None:
        """Add polygons as proposals to accept or reject, for example the result of `samgeo.segment`.

        Polygons that exist already, with the same outline and class, are left out, so that a cell can be run again. Polygons
        outside the raster are left out too. The status line of the map says how many were left out.

        Parameters
        ----------
        features : path, GeoDataFrame or GeoSeries
            See `Session.propose`.

        Raises
        ------
        SamgeoError
            If the features cannot be read, or have no position on the raster.
        """
        done = self.session.propose(features)
        self.drawing.tell_of(done)

    def show_whole(self) -> None:
        """Move the map so that the whole raster is in view."""
        view = in_view(self.leaflet)
        whole = self._first if view is None else fit(self._place, view.width, view.height)
        self.leaflet.center, self.leaflet.zoom = whole

    @check_types
    def export(
        self, path: str | os.PathLike[str], *, overwrite: bool = False, layer: str | None = None, y_up: bool = False
    ) -> None:
        """Write the accepted objects to a vector file, in the format that its suffix names, or to COCO for ``.json``.

        Parameters
        ----------
        path : path
            ``.gpkg``, ``.parquet``, ``.fgb``, ``.geojson``; ``.json`` for COCO.
        overwrite : bool, default False
            Whether an existing file may be replaced. In a GeoPackage only the layer is replaced; other layers and styles stay.
        layer : str, optional
            Name of the layer in a GeoPackage; by default the file's name without its suffix.
        y_up : bool, default False
            Whether y points up in a vector file, for a raster without georeference; see `samgeo.segment`.

        Raises
        ------
        SamgeoError
            If the file cannot be written or is the raster itself, or if ``layer`` or ``y_up`` is given for COCO.
        """
        if Path(path).suffix.lower() != ".json":
            self.session.export(path, overwrite=overwrite, layer=layer, y_up=y_up)
            return
        if layer is not None or y_up:
            raise OptionError("COCO has no layers, and its pixels have y running down; omit layer and y_up.")
        self.session.export_coco(path, overwrite=overwrite)

    @check_types
    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the picture is drawn and the work in the background is done; return False if the timeout came first."""
        return self._views.wait(timeout_s) and all(one.wait(timeout_s) for one in self._background.values())

    @check_types
    def close(self, *, wait: bool = True) -> None:
        """Remove the map from the notebook, and stop its work in the background. The session and its saved files stay.

        A map is also closed when the cell that made it runs again.

        Parameters
        ----------
        wait : bool, default True
            Whether to wait until the work in the background has stopped.
        """
        self._unsubscribe()
        self._views.close()
        self._coordinates.close()
        self._editing.close()
        for one in self._background.values():
            one.close()
        self._views.wait()
        if wait:
            self.wait()
        close_widgets(self.widget)

    def __repr__(self) -> str:
        return f"Map of {self.session!r}"

    def _repr_mimebundle_(self, **kwargs: object) -> dict[str, Any]:
        """Return the map as a widget; and as a picture and a line of text, which programs without widgets show."""
        bundle: dict[str, Any] = self.widget._repr_mimebundle_(**kwargs) or {}  # how Jupyter shows any object
        picture = still_picture(self.session.predictor.raster, self.session.to_frame())
        return {**bundle, **({} if picture is None else {"image/jpeg": picture}), "text/plain": repr(self)}

    def _prepare(self) -> None:
        """Import libraries that the first click needs, once the first picture is drawn, so that the click need not wait."""
        self._views.wait()
        for name in CLICK_LIBRARIES:
            import_module(name)

    def _follow(self, now: Snapshot) -> None:
        if self._class >= len(now.state.class_list.names):
            self._class = 0
        self.drawing.show(now)
        self.drawing.aim(self._pointer.mode, self._class_name)
        self._editing.follow(now)
        if now.state.selected is None and self._pointer.mode in NEEDS_SELECTED:
            self._set_mode("select")

    def _on_interaction(self, **told: Json) -> None:
        if told.get("type") == "mousemove":
            self._coordinates.put(tuple(told.get("coordinates", ())))
        self._editing.on_mouse(told.get("type", ""), tuple(told.get("coordinates", ())))
        gesture = self._pointer.handle(told.get("type", ""), tuple(told.get("coordinates", ())))
        if isinstance(gesture, Draft):
            self.drawing.sketch.show_draft(gesture.track, gesture.kind)
        elif gesture is not None:
            if isinstance(gesture, Point | Box):
                self.drawing.tell(ASKING)  # a large model takes its time for the first click into a window
            if isinstance(gesture, Point | Box) and self._editing.is_each:
                self.drawing.guarded(lambda: self._editing.each(gesture, self._class_name))
            else:
                self.drawing.guarded(lambda: self._hand.do(gesture, self._class_name, self.drawing.visible))
            self.drawing.tell_instead_of(ASKING)
            if self.drawing.sketch.draft:
                self.drawing.sketch.show_draft((), "")

    def _on_key(self, name: str) -> None:
        """Do the action of a key. In the mode for vertices Delete removes a vertex and never the object, and Enter ends it."""
        if self._pointer.mode == "vertices" and name == "delete":
            self.drawing.tell("put the mouse over a vertex to remove it; the button deletes the object", is_error=True)
        elif self._pointer.mode == "vertices" and name == "accept" and self.session.state.candidate is None:
            self._act("mode-select")
        else:
            self._act(name)

    def _is_idle(self) -> bool:
        """Whether no button of the mouse draws, and no work in the background keeps the model busy."""
        return not self._pointer.is_drawing and all(one.wait(0) for one in self._background.values())

    def _act(self, name: str) -> None:
        """Do the action of a button or a key."""
        kind, _, rest = name.partition("-")
        if kind == "mode":
            self.drawing.guarded(lambda: self._set_mode(rest))
        elif kind == "activate":
            self.drawing.guarded(lambda: self._activate(int(rest)))
        elif kind == "class":
            self.drawing.guarded(lambda: self._set_class(int(rest)))
        elif kind == "candidate":
            self.drawing.guarded(lambda: self.session.choose(int(rest)))
        else:
            self.drawing.guarded(self._actions[name])

    @property
    def _actions(self) -> dict[str, Callable[[], object]]:
        session = self.session
        return {
            "accept": lambda: session.accept(self._class_name),
            "clear": self._clear,
            "undo": session.undo,
            "redo": session.redo,
            "next": self._next_candidate,
            "redraw": self._redraw,
            "delete": lambda: session.delete(self._selected),
            "segment": self.segment_view,
            "find": lambda: self.find_in_view(self.drawing.panel.what.value),
            "similar": self.more_like_these,
            "each": lambda: self._switch("each"),
            "preview": lambda: self._switch("preview"),
            "home": self.show_whole,
            "stop": self._background["search"].stop,
            "train": self.train_on_accepted,
            "stop-training": self._background["training"].stop,
            "accept-all": lambda: self._hand.accept_drawn(self._class_name, self.drawing.visible),
            "reject-all": session.reject_proposals,
            "export": self._export,
            "outline": self.drawing.panel.outline.toggle,
            "masks-of-file": lambda: self.add(self._path),
            "prompts-of-file": lambda: self.prompt_with(self._path),
        }

    @property
    def _class_name(self) -> str:
        return self.session.classes[self._class]

    @property
    def _selected(self) -> int:
        selected = self.session.state.selected
        if selected is None:
            raise OptionError("no object is selected; select one first.")
        return selected

    def _set_mode(self, mode: str) -> None:
        self._editing.enter(mode)
        self._pointer.give_up()
        self._pointer.mode = mode
        self.drawing.sketch.show_draft((), "")
        self.drawing.panel.show_mode(mode)
        self.leaflet.dragging = not self._pointer.drags
        self.drawing.aim(mode, self._class_name)
        self._editing.redraw()

    def _switch(self, name: str) -> None:
        switch = self.drawing.panel.switches[name]
        switch.value = not switch.value

    def _set_class(self, number: int) -> None:
        if number >= len(self.session.classes):
            return
        self._activate(number)
        if self.session.state.selected is not None:
            self.session.set_class(self.session.state.selected, self._class_name)

    def _activate(self, number: int) -> None:
        """Choose the class of the next object."""
        self._class = number
        self.drawing.panel.show_class(number)
        self.drawing.aim(self._pointer.mode, self._class_name)

    def _next_candidate(self) -> None:
        state = self.session.state
        if state.answer.offers:
            self.session.choose((state.chosen + 1) % len(state.answer.offers))

    def _clear(self) -> None:
        self._pointer.give_up()
        self.drawing.sketch.show_draft((), "")
        if self.session.state.prompt:
            self.session.clear_prompts()
        else:
            self.session.select(None)

    def _redraw(self) -> None:
        offer = self.session.state.candidate
        if offer is None:
            raise OptionError("there is no candidate to take the outline from; click on the object first.")
        self.session.edit(self._selected, offer.geometry)
        self.session.clear_prompts()

    def _select_row(self, number: int) -> None:
        with self.drawing.errors_shown():
            self.session.select(number)
            bounds = self._place.bounds_of(self.session.state.object(number).geometry)
            view = in_view(self.leaflet)
            if view is not None:
                center, zoom = fit(self._place, view.width / ROOM, view.height / ROOM, bounds)
                self.leaflet.center = center
                self.leaflet.zoom = min(max(zoom, self.leaflet.min_zoom), self.leaflet.max_zoom)

    def _export(self) -> None:
        path = self._path
        self.export(path, overwrite=self.drawing.panel.overwrite.value or path.absolute() in self._exported)
        self._exported.add(path.absolute())
        self.drawing.tell(f"wrote {len(self.session.state.objects)} objects to {path}")

    def _show_coordinates(self, at: tuple[float, float]) -> None:
        """Show the position of the mouse in the raster's CRS, or in pixels."""
        self.drawing.panel.coordinates.value = self._place.describe(*at)

    def _on_move(self, _: object) -> None:
        view = in_view(self.leaflet)
        if view is None:
            return
        if not self._fitted:
            # The size of the map on the screen is unknown before the first move event.
            self._fitted = True
            center, zoom = fit(self._place, view.width, view.height)
            if zoom != self.leaflet.zoom:
                self.leaflet.center, self.leaflet.zoom = center, zoom
        self._show(view)
        self._editing.move()

    def _on_screen(self, ratio: float) -> None:
        """Draw the picture again at the pixel ratio of the screen."""
        if not 0 < ratio < MAX_SIDE or ratio == self._ratio:
            return
        self._ratio = ratio
        view = in_view(self.leaflet)
        if view is not None:
            self._show(view)

    def _show(self, view: View) -> None:
        if self._is_drawn_here:
            self._views.put(view.on_screen(self._ratio))
