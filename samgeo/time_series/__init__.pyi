from .api import change as change
from .api import change_to_file as change_to_file
from .comparison import ChangeSummary as ChangeSummary
from .tracking.api import track as track
from .tracking.api import track_to_file as track_to_file
from .tracking.area_plot import plot_areas as plot_areas
from .tracking.rows import TrackSummary as TrackSummary
from .tracking.rows import summarize as summarize

__all__ = ["ChangeSummary", "TrackSummary", "change", "change_to_file", "plot_areas", "summarize", "track", "track_to_file"]
