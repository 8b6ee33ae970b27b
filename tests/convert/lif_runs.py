"""What the tests of the spiking student share: runs in real environments, with random weights, and a short training."""

from pathlib import Path

import numpy as np
import torch

from nmbrl.convert.loihi.lif.student import Sizes
from nmbrl.convert.loihi.lif.training import Schedule, Trainer
from nmbrl.targets.interface import Normalisation, Task
from nmbrl.train.config import LearnerConfig, TrainingConfig
from nmbrl.train.learner import build_model
from nmbrl.train.run import RunDirectory, open_run, pack_model

SIZES = Sizes(world=24, policy=20, value=12, context=2, steps=4)
SCHEDULE = Schedule(
    world_updates=4,
    policy_updates=8,
    rounds=2,
    episodes=2,
    teacher_episodes=3,
    dreams=6,
    dream_length=8,
    batch=4,
    value_batch=8,
)


def make_box_run(path: Path):
    """A run of Pendulum-v1: box actions, episodes that go on until time is up."""
    config = TrainingConfig(
        env="Pendulum-v1", terminates=False, action_repeat=10, learner=LearnerConfig(hidden_size=8, width=8)
    )
    task = Task(env="Pendulum-v1", action_repeat=10, observation_size=3, action_kind="box", action_size=1)
    torch.manual_seed(1)
    model = build_model(config.learner, task, False).eval()
    normalisation = Normalisation(mean=(0.0, 0.0, 0.1), std=(0.7, 0.7, 3.0))
    model.interface = model.interface.model_copy(update={"normalisation": normalisation})
    random = np.random.default_rng(0)
    directory = RunDirectory(path)
    directory.write_config(config)
    directory.write_model(pack_model(model))
    angle, speed = np.cumsum(random.normal(0, 0.4, (2, 21, 1)), axis=1), random.normal(0, 3, (2, 21, 1))
    directory.write_calibration(
        {
            "o": np.concatenate([np.cos(angle), np.sin(angle), speed], axis=2, dtype=np.float32),
            "a": random.uniform(-1, 1, (2, 20, 1)).astype(np.float32),
            "r": random.uniform(-5, 0, (2, 20)).astype(np.float32),
            "c": np.ones((2, 20), np.float32),
        }
    )
    return open_run(path)


def make_trainer(run, seed: int = 0, sizes: Sizes = SIZES) -> Trainer:
    return Trainer(run, sizes, SCHEDULE, seed)


def finish(trainer: Trainer) -> Trainer:
    for _ in trainer.train():
        pass
    return trainer
