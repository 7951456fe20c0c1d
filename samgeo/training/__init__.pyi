from .applied_preset import AppliedPreset as AppliedPreset
from .applied_preset import apply_preset as apply_preset
from .assessment.plots import plot_log as plot_log
from .assessment.plots import plot_reliability as plot_reliability
from .assessment.report import Report as Report
from .assessment.report import judge as judge
from .assessment.scores import BoxScores as BoxScores
from .assessment.scores import Reliability as Reliability
from .assessment.scores import Scores as Scores
from .finder.options import FinderTraining as FinderTraining
from .finetuning.api import Finetuned as Finetuned
from .finetuning.api import finetune as finetune
from .finetuning.gate import Gain as Gain
from .loop import TrainOptions as TrainOptions
from .loop import train as train
from .losses import LossWeights as LossWeights
from .network_kinds import trainable_network as trainable_network
from .presets import TRAINING_PRESETS as TRAINING_PRESETS
from .presets import TrainingPreset as TrainingPreset
from .presets import training_preset as training_preset
from .recipe import Recipe as Recipe
from .recipe import load_recipe as load_recipe
from .recipe_run import Trained as Trained
from .recipe_run import run_recipe as run_recipe
from .step import Course as Course

__all__ = [
    "TRAINING_PRESETS",
    "AppliedPreset",
    "BoxScores",
    "Course",
    "FinderTraining",
    "Finetuned",
    "Gain",
    "LossWeights",
    "Recipe",
    "Reliability",
    "Report",
    "Scores",
    "TrainOptions",
    "Trained",
    "TrainingPreset",
    "apply_preset",
    "finetune",
    "judge",
    "load_recipe",
    "plot_log",
    "plot_reliability",
    "run_recipe",
    "train",
    "trainable_network",
    "training_preset",
]
