from .api import change as change
from .api import change_to_file as change_to_file
from .comparison import ChangeSummary as ChangeSummary

__all__ = ["ChangeSummary", "change", "change_to_file"]
