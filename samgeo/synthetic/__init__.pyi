from .generate import town as town
from .scene import Scene as Scene
from .series import Dates as Dates
from .series import TwoDates as TwoDates
from .series import dates as dates
from .series import two_dates as two_dates

__all__ = ["Dates", "Scene", "TwoDates", "dates", "town", "two_dates"]
