"""Settings of a training, validated."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from nmbrl.train.models.mlp import Activation


class Settings(BaseModel):
    """A group of settings: frozen, and an unknown name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class LearnerConfig(Settings):
    """What the learner is made of and how it learns.

    Attributes:
        architecture: world model, ``gru``.
        hidden_size: size of the recurrent state.
        width: size of every hidden layer.
        activation: activation of the hidden layers.
        batch_size: sequences in a world-model update.
        sequence_length: decisions in a sequence.
        starts: imagined trajectories in an actor-critic update.
        horizon: decisions in an imagined trajectory.
        discount: discount factor of one decision.
        trace: lambda of the lambda-returns.
        model_rate: learning rate of the world model (Adam).
        actor_rate: learning rate of the policy.
        critic_rate: learning rate of the value.
        slow_rate: share by which the slow value moves towards the value, an update.
        average_rate: share by which the deployed weights move towards the trained ones, an update.
        reward_weight: weight of the reward's squared error beside the observation's.
        entropy: weight of the exploration bonus (log standard deviation, or entropy of discrete actions).
        smallest_std: standard deviation below which exploration never falls.
        smallest_return_scale: floor of the 5 % to 95 % range of returns (normalised to [0, 1]) that scales the actor.
    """

    architecture: Literal["gru"] = "gru"
    hidden_size: int = Field(default=64, ge=1)
    width: int = Field(default=64, ge=1)
    activation: Activation = "silu"
    batch_size: int = Field(default=48, ge=1)
    sequence_length: int = Field(default=10, ge=1)
    starts: int = Field(default=128, ge=1)
    horizon: int = Field(default=12, ge=1)
    discount: float = Field(default=0.99, gt=0, lt=1)
    trace: float = Field(default=0.95, ge=0, le=1)
    model_rate: float = Field(default=1e-3, gt=0)
    actor_rate: float = Field(default=1e-3, gt=0)
    critic_rate: float = Field(default=1e-3, gt=0)
    slow_rate: float = Field(default=0.02, gt=0, le=1)
    average_rate: float = Field(default=0.01, gt=0, le=1)
    reward_weight: float = Field(default=10.0, ge=0)
    entropy: float = Field(default=1e-3, ge=0)
    smallest_std: float = Field(default=0.1, gt=0, lt=1)
    smallest_return_scale: float = Field(default=0.03, gt=0)
