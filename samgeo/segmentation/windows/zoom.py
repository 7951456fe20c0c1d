"""The zoom: how many pixels of the model's input show one pixel of the raster, and the windows that follow from it."""

from __future__ import annotations

from samgeo.errors import OptionError

__all__ = ["LEAST_WINDOW", "check_zoom", "fitting_window", "window_of"]

# Smaller windows show too little of the surroundings of an object.
LEAST_WINDOW = 32
MOST_ZOOM = 16.0
# Overlap of windows, as a share of the window. An object up to this size is completely visible in some window.
OVERLAP = 0.25


def check_zoom(zoom: float) -> None:
    """Check a zoom.

    Raises
    ------
    OptionError
        If it is not from 1/16 to 16.
    """
    if not 1 / MOST_ZOOM <= zoom <= MOST_ZOOM:
        raise OptionError(
            f"zoom is {zoom:g}; give a number from 1/16 to 16: 1 shows the raster to the model as it is, 2 at twice its size."
        )


def window_of(zoom: float, input_size: int) -> tuple[int, int]:
    """Return the side of a window in raster pixels, which the model sees at a zoom, and the overlap of windows."""
    window = max(round(input_size / zoom / 8) * 8, LEAST_WINDOW)
    return window, 2 * round(window * OVERLAP / 2)


def fitting_window(zoom: float, input_size: int) -> int:
    """Return the side of a window as `window_of` does, for a zoom that the user gives.

    Raises
    ------
    OptionError
        If the window would be smaller than `LEAST_WINDOW`, so that the zoom is too high for the model.
    """
    if input_size / zoom < LEAST_WINDOW:
        raise OptionError(
            f"zoom is {zoom:g}, and the input of the model has {input_size} pixels, so that a window has only "
            f"{input_size / zoom:.0f} raster pixels; give a zoom of at most {input_size / LEAST_WINDOW:g}."
        )
    return window_of(zoom, input_size)[0]
