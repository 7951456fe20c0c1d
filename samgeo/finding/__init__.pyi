from .api import PromptSource as PromptSource
from .api import find as find
from .finder import Finder as Finder
from .finder import FinderInfo as FinderInfo
from .finder import load_finder as load_finder
from .given import GivenBoxes as GivenBoxes
from .given import boxes_from as boxes_from
from .given import peaks_of as peaks_of
from .thresholds.calibration import Calibrated as Calibrated
from .thresholds.calibration import Calibration as Calibration
from .thresholds.calibration import calibrate as calibrate
from .thresholds.curve import suggest_threshold as suggest_threshold
from .thresholds.curve import threshold_curve as threshold_curve

__all__ = [
    "Calibrated",
    "Calibration",
    "Finder",
    "FinderInfo",
    "GivenBoxes",
    "PromptSource",
    "boxes_from",
    "calibrate",
    "find",
    "load_finder",
    "peaks_of",
    "suggest_threshold",
    "threshold_curve",
]
