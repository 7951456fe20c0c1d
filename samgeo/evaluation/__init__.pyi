from .api import evaluate as evaluate
from .boundary import boundary_iou as boundary_iou
from .matching import Matches as Matches
from .matching import match as match
from .polis_distance import polis as polis
from .report import LeftOut as LeftOut
from .report import Report as Report
from .report import Scores as Scores
from .report import Verdict as Verdict
from .report import check_folder as check_folder

__all__ = [
    "LeftOut",
    "Matches",
    "Report",
    "Scores",
    "Verdict",
    "boundary_iou",
    "check_folder",
    "evaluate",
    "match",
    "polis",
]
