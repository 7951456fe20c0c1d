"""Objects against the truth: how many were found, and how well they are drawn."""

from samgeo.dataset.metrics.boundary import boundary_iou
from samgeo.dataset.metrics.evaluate import evaluate
from samgeo.dataset.metrics.matching import Matches, match
from samgeo.dataset.metrics.polis import polis
from samgeo.dataset.metrics.report import LeftOut, Report, Scores

__all__ = ["LeftOut", "Matches", "Report", "Scores", "boundary_iou", "evaluate", "match", "polis"]
