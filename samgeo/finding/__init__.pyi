from .api import PromptSource as PromptSource
from .api import find as find
from .detectors.detection import Detections as Detections
from .detectors.detection import Detector as Detector
from .detectors.function import detector_from as detector_from
from .detectors.onnx_detector import OnnxDetector as OnnxDetector
from .detectors.source import DetectorSource as DetectorSource
from .finder import Finder as Finder
from .finder import FinderInfo as FinderInfo
from .finder import load_finder as load_finder
from .given import GivenBoxes as GivenBoxes
from .given import boxes_from as boxes_from
from .given import peaks_of as peaks_of
from .similar import similar as similar
from .text.text_finder import TextFinder as TextFinder
from .text.text_finder import load_text_finder as load_text_finder
from .thresholds.calibration import Calibrated as Calibrated
from .thresholds.calibration import Calibration as Calibration
from .thresholds.calibration import calibrate as calibrate
from .thresholds.curve import suggest_threshold as suggest_threshold
from .thresholds.curve import threshold_curve as threshold_curve

__all__ = [
    "Calibrated",
    "Calibration",
    "Detections",
    "Detector",
    "DetectorSource",
    "Finder",
    "FinderInfo",
    "GivenBoxes",
    "OnnxDetector",
    "PromptSource",
    "TextFinder",
    "boxes_from",
    "calibrate",
    "detector_from",
    "find",
    "load_finder",
    "load_text_finder",
    "peaks_of",
    "similar",
    "suggest_threshold",
    "threshold_curve",
]
