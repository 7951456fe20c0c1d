from .annotations.reading import read_annotations as read_annotations
from .buildings.refinement import refine as refine
from .buildings.regularization.api import regularize as regularize
from .buildings.workflow import footprints as footprints
from .editing.compression import compress as compress
from .editing.removal import remove as remove
from .errors import SamgeoError as SamgeoError
from .evaluation.api import evaluate as evaluate
from .finding.api import find as find
from .geo.label_raster import rasterize as rasterize
from .geo.raster.raster import Raster as Raster
from .map.widget import Map as Map
from .models.registry import list_models as list_models
from .models.registry import load_model as load_model
from .objects.classify import classify as classify
from .objects.oddness import oddness as oddness
from .plot.display import show as show
from .samrs.make import make_samrs as make_samrs
from .segmentation.api import segment as segment
from .segmentation.encoding import encode as encode
from .segmentation.prediction import predict as predict
from .segmentation.predictor import Predictor as Predictor
from .time_series.api import change as change
from .time_series.tracking.api import track as track
from .training.finetuning.api import finetune as finetune

__version__: str

__all__ = [
    "Map",
    "Predictor",
    "Raster",
    "SamgeoError",
    "change",
    "classify",
    "compress",
    "encode",
    "evaluate",
    "find",
    "finetune",
    "footprints",
    "list_models",
    "load_model",
    "make_samrs",
    "oddness",
    "predict",
    "rasterize",
    "read_annotations",
    "refine",
    "regularize",
    "remove",
    "segment",
    "show",
    "track",
]
