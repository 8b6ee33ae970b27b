"""Replay, world models, the learner and the training loop: they write a run."""

from nmbrl.train.config import TrainingConfig
from nmbrl.train.loop import train
from nmbrl.train.run import Run, open_run

__all__ = ["Run", "TrainingConfig", "open_run", "train"]
