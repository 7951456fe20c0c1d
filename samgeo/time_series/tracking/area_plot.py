"""The areas of tracked objects over time, as a picture."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from samgeo.arguments import check_types
from samgeo.errors import OptionError
from samgeo.storage.atomic import check_new, write_whole
from samgeo.time_series.tracking.dated import label_of
from samgeo.time_series.tracking.rows import area_column, summarize

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_areas"]

# More lines than this cannot be told apart, so that they have no names.
MOST_NAMED = 10
UNITS = {"area_m2": "m²", "area_px": "pixels"}


@check_types
def plot_areas(
    tracks: pd.DataFrame,
    output: str | os.PathLike[str],
    *,
    ids: Sequence[int] | None = None,
    overwrite: bool = False,
) -> None:
    """Draw the area of objects over time: that of each object, and the sum and the number of all.

    Parameters
    ----------
    tracks : GeoDataFrame
        The result of `samgeo.track`, or the file that it wrote, read with geopandas.
    output : path
        A PNG.
    ids : sequence of int, optional
        The objects to draw. By default all.
    overwrite : bool, default False
        Whether an existing file may be replaced.

    Raises
    ------
    OptionError
        If the table is not one of `samgeo.track` or has no such objects, the plot cannot be written, or matplotlib is not
        installed.

    Examples
    --------
    >>> import samgeo
    >>> from samgeo.synthetic import dates
    >>> from samgeo.time_series import plot_areas
    >>> town = dates((128, 128), 3, seed=1, births=0.3, deaths=0.2)
    >>> images = {year: scene.save(f"{year}.tif") for year, scene in zip((2019, 2021, 2023), town.scenes)}
    >>> tracks = samgeo.track(images, objects=[scene.footprints for scene in town.scenes], progress=False)
    >>> plot_areas(tracks, "areas.png")
    """
    kind = _figure()
    path = check_new(output, ".png", overwrite=overwrite)
    area = area_column(tracks)
    if ids is not None and (unknown := sorted(set(map(int, ids)) - set(tracks["id"]))):
        raise OptionError(f"no object has the id {unknown[0]}; give ids of the table.")
    table = summarize(tracks)
    chosen = table if ids is None else table.loc[sorted(set(map(int, ids)))]
    columns = [name for name in table.columns if name.startswith(f"{area} ")]
    if not len(chosen) or not columns:
        raise OptionError("there are no objects to draw; give a table with rows.")
    dates = [pd.Timestamp(name.removeprefix(f"{area} ")) for name in columns]
    values = chosen[columns].to_numpy(dtype=np.float64)
    figure = kind(figsize=(9, 7.5), layout="constrained")
    lines, total = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    for number, (name, line) in enumerate(zip(chosen.index, values, strict=True)):
        few = len(chosen) <= MOST_NAMED
        style = {"linewidth": 1.5, "markersize": 5} if few else {"linewidth": 0.8, "markersize": 2.5, "alpha": 0.7}
        # A gap in the track is a gap in the line.
        lines.plot(dates, line, marker="o", color=f"C{number % 10}", label=f"{name}" if few else None, **style)
    if len(chosen) <= MOST_NAMED:
        lines.legend(title="id", fontsize="small")
    # Objects of very different sizes share the picture.
    known = values[np.isfinite(values) & (values > 0)]
    if len(known) and known.max() > 20 * known.min():
        lines.set_yscale("log")
    lines.set_ylabel(f"area of each object ({UNITS[area]})")
    total.plot(dates, np.nansum(values, axis=0), marker="o", color="0.2")
    total.set_ylabel(f"sum of areas ({UNITS[area]})")
    total.set_ylim(bottom=0)
    count = total.twinx()
    count.plot(dates, np.isfinite(values).sum(axis=0), marker="s", linestyle=":", color="C3")
    count.set_ylabel("number of objects", color="C3")
    count.set_ylim(bottom=0)
    total.set_xticks(dates, [label_of(one) for one in dates], rotation=30, ha="right")
    for axes in (lines, total):
        axes.grid(alpha=0.3)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    write_whole(path, buffer.getvalue())


def _figure() -> type[Figure]:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise OptionError("plots need matplotlib, which is not installed; pip install 'samgeo[train]'.") from None
    return Figure
