"""The command line: a module for each command or group of commands.

Each command calls one public function with its arguments and options. It prints messages and returns an exit code.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from samgeo import __version__
from samgeo.cli.dataset import dataset
from samgeo.cli.evaluate import evaluate, thresholds
from samgeo.cli.find import find
from samgeo.cli.footprints import footprints, refine, regularize
from samgeo.cli.models import models
from samgeo.cli.objects import classify, oddness, rasterize
from samgeo.cli.rasters import compress, demo, remove, show, style
from samgeo.cli.segment import encode, predict, segment, status
from samgeo.cli.time_series import change, track
from samgeo.cli.train import finetune, train
from samgeo.errors import SamgeoError, SamgeoWarning

__all__ = ["main"]


class _Group(click.Group):
    """Command group that prints a `SamgeoError` as one message with exit code 1, and warnings as notes on standard error."""

    def invoke(self, ctx: click.Context) -> object:
        with warnings.catch_warnings():
            warnings.simplefilter("always", SamgeoWarning)
            warnings.showwarning = _Notes(warnings.showwarning)
            from samgeo.models import keep_freed_memory

            keep_freed_memory()
            try:
                with _notices_shown():
                    return super().invoke(ctx)
            except SamgeoError as error:
                raise click.ClickException(str(error)) from None


class _Notes:
    """Print each `SamgeoWarning` once, as one line on standard error without its place in the code.

    Other warnings are shown as usual in Python.
    """

    def __init__(self, show: Callable[..., None]) -> None:
        self._show = show
        self._told: set[str] = set()

    def __call__(self, message: Warning | str, category: type[Warning], *place: object, **options: object) -> None:
        if not issubclass(category, SamgeoWarning):
            self._show(message, category, *place, **options)
        elif str(message) not in self._told:
            self._told.add(str(message))
            click.echo(f"Note: {message}", err=True)


class _Notices(logging.Handler):
    """Print each notice as one line on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        click.echo(f"Note: {record.getMessage()}", err=True)


@contextmanager
def _notices_shown() -> Iterator[None]:
    """Show on standard error what a user should know before weights are downloaded, such as their licence."""
    logger, handler = logging.getLogger("samgeo.models.notices"), _Notices()
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
        logger.propagate = True


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="samgeo")
@click.option("-v", "--verbose", count=True, help="Print log messages on standard error; -vv prints more.")
@click.pass_context
def main(context: click.Context, verbose: int) -> None:
    """Find objects in satellite, aerial and drone images of any size.

    \b
    Exit codes:
      0    The work is done.
      1    An input cannot be used, or the work failed. No output is half written.
      2    The command line is wrong.
      3    segment, change, track: the work is done, but some windows failed.
      143  segment, predict, change, track: SIGTERM stopped the run; the same command continues it.
    """  # noqa: D301 - click needs the character, not a backslash
    if verbose:
        context.call_on_close(_log_to_stderr(logging.INFO if verbose == 1 else logging.DEBUG))


def _log_to_stderr(level: int) -> Callable[[], None]:
    """Show samgeo's log messages on standard error; return a function that stops this."""
    logger, handler = logging.getLogger("samgeo"), logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger.setLevel(level)
    logger.addHandler(handler)

    def end() -> None:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)

    return end


for _command in (
    find,
    change,
    track,
    segment,
    predict,
    encode,
    rasterize,
    remove,
    compress,
    status,
    footprints,
    regularize,
    refine,
    classify,
    oddness,
    dataset,
    models,
    train,
    finetune,
    show,
    style,
    evaluate,
    thresholds,
    demo,
):
    main.add_command(_command)
