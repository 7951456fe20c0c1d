"""Searches of a session in its raster, and the training of its model on the accepted objects."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import shapely

from samgeo.arguments import check_types
from samgeo.errors import StoppedError
from samgeo.finding.api import find
from samgeo.finding.similar import similar
from samgeo.geo.coordinates.prompt_geometry import read_boxes
from samgeo.map.more_like_these import class_of_examples, examples_of, without_seen
from samgeo.map.other_weights import weights_of
from samgeo.map.session_parts.proposals import Proposing
from samgeo.map.state.actions import UseModel
from samgeo.map.state.live_state import Snapshot
from samgeo.map.train_on_accepted import Course, Training, free_path
from samgeo.segmentation.masks.vectorize import georeference
from samgeo.types import BoxesLike, CRSLike

if TYPE_CHECKING:
    from samgeo.training.finetuning.api import Finetuned

__all__ = ["Searching"]


class Searching(Proposing):
    """The part of a session that finds objects, proposes them, and exchanges the weights of the model."""

    @check_types
    def find(
        self,
        what: str = "building",
        bounds: BoxesLike = None,
        *,
        crs: CRSLike = None,
        class_name: str | None = None,
        min_score: float | None = None,
        progress: Callable[[int, int], bool] | None = None,
    ) -> Snapshot:
        """Find the objects of one kind, and add them as proposals; see `samgeo.find`.

        Parameters
        ----------
        what : str, default "building"
            The class of a bundled finder.
        bounds : sequence of 4 numbers, optional
            x0, y0, x1, y1 of the part of the raster in which objects are found, for example the view of a map. The whole
            raster by default.
        crs : anything that pyproj takes, or "pixels", optional
            CRS of the bounds. That of the raster by default.
        class_name : str, optional
            Class of the proposals. By default it is ``what`` if the palette has this class, else it is given on acceptance.
        min_score : float, optional
            Objects with a lower score are left out; the default is that of the finder.
        progress : callable, optional
            Called with 0 and 0 before the search, and with 1 and 1 after it. It returns False to propose nothing.

        Returns
        -------
        Snapshot
            As `propose`.

        Raises
        ------
        SamgeoError
            If the bounds or the class cannot be used, or the model with which the session was opened is not that of the finder.
        StoppedError
            If ``progress`` returned False. Nothing is proposed.
        """
        raster = self.predictor.raster
        area = None
        if bounds is not None:
            corners, _ = read_boxes([bounds], geobox=raster.geobox, crs=crs)
            area = georeference(np.array([shapely.box(*corners[0])], dtype=object), raster.geobox.affine)[0]
        go_on = progress or (lambda _done, _total: True)
        if not go_on(0, 0):
            raise StoppedError("the search was stopped before it began; nothing is proposed.")
        # A finder belongs to the features of one model: that of the start.
        found = find(raster, what, model=self._answers.start.model, aoi=area, min_score=min_score, progress=False)
        if not go_on(1, 1):
            raise StoppedError("the search was stopped; nothing is proposed.")
        named = class_name or (what if what in self.classes else None)
        found = found.assign(prompt="find")
        return self.propose(found.drop(columns="class") if named is None else found.assign(**{"class": named}))

    @check_types
    def find_similar(
        self,
        bounds: BoxesLike = None,
        *,
        rejected: bool = True,
        crs: CRSLike = None,
        class_name: str | None = None,
        min_score: float | None = None,
        progress: Callable[[int, int], bool] | None = None,
    ) -> Snapshot:
        """Find more objects like the accepted ones of a class, and add them as proposals; see `samgeo.finding.similar`.

        The examples are the 50 objects of the class that were accepted last, and as many rejected proposals. What is accepted,
        proposed or rejected already is not proposed again.

        Parameters
        ----------
        bounds : sequence of 4 numbers, optional
            x0, y0, x1, y1 of the part of the raster in which objects are searched, for example the view of a map. By default
            the windows with the examples, and their neighbours.
        rejected : bool, default True
            Whether proposals of the class, or without a class, that were rejected in this session show what is not wanted.
        crs : anything that pyproj takes, or "pixels", optional
            CRS of the bounds. That of the raster by default.
        class_name : str, optional
            Class of the examples and of the proposals. By default that of the selected object, or if none is selected, that of
            the object that was accepted last.
        min_score : float, optional
            Objects with a lower score are left out, from 0 to 1; 0.2 by default.
        progress : callable, optional
            Called with the number of windows that are done and the number of all windows. It returns False to stop.

        Returns
        -------
        Snapshot
            As `propose`.

        Raises
        ------
        OptionError
            If no object of the class is accepted, or an option is invalid.
        StoppedError
            If ``progress`` returned False. Nothing is proposed.
        SamgeoError
            As `samgeo.finding.similar`.
        """
        state = self.state
        named = class_of_examples(state, self.classes, class_name)
        examples = examples_of(state, named, self.predictor.raster.geobox, rejected=rejected)
        found = similar(self.predictor, examples, named, bounds=bounds, crs=crs, min_score=min_score, progress=progress)
        return self.propose(without_seen(found, self.state).assign(prompt="examples"))

    @check_types
    def use_model(self, path: str | os.PathLike[str]) -> Snapshot:
        """Answer the prompts that follow with the weights of a file. Undo returns to the weights that were used before.

        An open prompt is asked again. Objects have the model that drew them in the column ``model``.

        Parameters
        ----------
        path : path
            Weights of the same architecture, such as those of `train_on_accepted`. The log names this file, so that it must
            stay where it is as long as the log is replayed.

        Raises
        ------
        SamgeoError
            If the file cannot be read, or the model of the session is not of the architecture of the bundled one.
        """
        weights: UseModel = weights_of(path, self._answers.start)
        return self._live.do(lambda _: weights)

    @check_types
    def train_on_accepted(
        self,
        output: str | os.PathLike[str] | None = None,
        *,
        preset: str = "decoder",
        minutes: float | None = 5.0,
        steps: int | None = None,
        rate: float | None = None,
        check_shift: bool = True,
        seed: int = 0,
        progress: Callable[[str], bool] | None = None,
    ) -> Finetuned:
        """Train the model on the accepted objects with `samgeo.finetune`, and use it if it is better on those held out.

        Each training begins with the weights that the session was opened with, so that no held-out object was seen by them.
        Objects that were accepted exactly as the model drew them teach it little; those that were corrected do.

        Parameters
        ----------
        output : path, optional
            The file for the new weights, a ``.safetensors`` that does not exist yet. By default ``NAME-trained-1.safetensors``
            beside the autosaved file, or the next number that is free. The run folder with the report is beside it.
        preset, minutes, steps, rate, check_shift, seed : optional
            See `samgeo.finetune`.
        progress : callable, optional
            Called with lines of text. It returns False to stop.

        Returns
        -------
        Finetuned
            ``accepted`` and ``reason`` say what was decided. If the weights were accepted, the prompts that follow are answered
            by them, as after `use_model`; undo returns to the weights that were used before.

        Raises
        ------
        OptionError
            If fewer than 20 objects are accepted, there is no place for the weights, or the model cannot be trained.
        StoppedError
            If ``progress`` returned False. The model is the same as before, and no file is left.
        SamgeoError
            As `samgeo.finetune`.
        """
        course = Course(preset, minutes, steps, rate, check_shift, seed)
        training = Training.of(self._answers.start, self.state.objects, free_path(output, self.autosave), course)
        done = training.run(progress or (lambda _: True))
        if done.accepted:
            self.use_model(done.output)
        return done
