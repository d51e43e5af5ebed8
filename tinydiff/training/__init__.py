"""Training: the loop, its checkpoints, its log and what that tells, its progress bar."""

from tinydiff.training.checkpoint import CheckpointError, load, save
from tinydiff.training.log import read_log
from tinydiff.training.recipe import one_cycle_trainer
from tinydiff.training.run import (
    HalfTrained,
    TrainingStopped,
    check_settings,
    is_finished,
    load_run,
    train,
    trained_weights,
)
from tinydiff.training.step import Step
from tinydiff.training.summary import minutes, save_loss
from tinydiff.training.trained import Trained
from tinydiff.training.trainer import Trainer, TrainingDiverged
from tinydiff.training.whole_run import complete

__all__ = [name for name in dir() if not name.startswith("_")]
