from .api import HolesWarning as HolesWarning
from .api import segment as segment
from .api import segment_to_file as segment_to_file
from .encoding import Encoding as Encoding
from .encoding import StoredScale as StoredScale
from .encoding import StoreStatus as StoreStatus
from .encoding import encode as encode
from .encoding import store_status as store_status
from .prediction import predict as predict
from .prediction import predict_to_file as predict_to_file
from .prediction_run import PredictionSummary as PredictionSummary
from .predictor import Predictor as Predictor
from .profile import Profile as Profile
from .profile import Stage as Stage
from .profile import profiling as profiling
from .prompts.decoding import Candidate as Candidate
from .prompts.raster_prompts import PromptCoverageWarning as PromptCoverageWarning
from .prompts.raster_prompts import RasterPrompts as RasterPrompts
from .run.execution import Summary as Summary
from .run.status import FailedWindow as FailedWindow
from .run.status import Status as Status
from .run.status import run_status as run_status

__all__ = [
    "Candidate",
    "Encoding",
    "FailedWindow",
    "HolesWarning",
    "PredictionSummary",
    "Predictor",
    "Profile",
    "PromptCoverageWarning",
    "RasterPrompts",
    "Stage",
    "Status",
    "StoreStatus",
    "StoredScale",
    "Summary",
    "encode",
    "predict",
    "predict_to_file",
    "profiling",
    "run_status",
    "segment",
    "segment_to_file",
    "store_status",
]
