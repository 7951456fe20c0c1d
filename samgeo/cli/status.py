"""The command status, which shows the progress of a run."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from samgeo.cli.options import count

if TYPE_CHECKING:
    from samgeo.segmentation import Status

__all__ = ["status"]

MOST_SHOWN = 20


@click.command()
@click.argument("run")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def status(run: str, as_json: bool) -> None:
    """Show the progress of a run of `samgeo segment`.

    RUN is the folder of the run, or the output of the run, whose folder lies beside it. The command prints the finished and the
    failed windows, the rate and the remaining time.
    """
    from samgeo.segmentation import run_status

    found = run_status(run)
    click.echo(json.dumps(asdict(found) | {"path": str(found.path)}, indent=2) if as_json else _tell(found))


def _tell(found: Status) -> str:
    lines = [
        f"{found.path}: {found.state}",
        f"raster   {found.raster}",
        f"model    {found.model}",
        f"windows  {found.done:,} of {found.windows:,} ({found.done / found.windows:.1%}), {found.rows:,} rows merged",
        f"objects  {found.objects:,} so far" if found.state != "complete" else f"objects  {found.objects:,}",
    ]
    if found.windows_per_second:
        lines.append(f"rate     {found.windows_per_second:.2f} windows a second")
    if found.seconds_left is not None:
        lines.append(f"left     {_duration(found.seconds_left)}")
    if found.failures:
        lines.append(f"failed   {count(len(found.failures), 'window')}:")
        for failure in found.failures[:MOST_SHOWN]:
            x0, y0, x1, y1 = failure.bounds_px
            lines.append(
                f"  row {failure.row}, column {failure.column} (pixels x {x0} to {x1}, y {y0} to {y1}) {failure.reason}"
            )
        if len(found.failures) > MOST_SHOWN:
            lines.append(f"  and {len(found.failures) - MOST_SHOWN:,} more; --json lists all")
    return "\n".join(lines)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
