"""Settings of a training, validated."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from nmbrl.runtime.planners import PLANNERS, PlannerOptions
from nmbrl.train.models.architectures import architecture_names


class Settings(BaseModel):
    """A group of settings: frozen, and an unknown name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class RssmConfig(Settings):
    """What belongs to the architecture ``rssm`` alone.

    Attributes:
        latents: Gaussian latents, or groups of classes.
        classes: of each categorical latent; 0 makes them Gaussian.
        free_nats: KL divergence below which nothing pulls posterior and prior together.
        kl_weight: weight of the balanced KL beside the observation's squared error.
    """

    latents: int = Field(default=16, ge=1)
    classes: int = Field(default=0, ge=0)
    free_nats: float = Field(default=1.0, ge=0)
    kl_weight: float = Field(default=0.01, ge=0)


class LearnerConfig(Settings):
    """What the learner is made of and how it learns.

    Attributes:
        architecture: world model, ``gru``, ``rssm`` or one that another package adds.
        rssm: settings of the architecture ``rssm``.
        options: settings of an architecture that another package adds.
        hidden_size: size of the recurrent state.
        width: size of every hidden layer.
        batch_size: sequences in a world-model update.
        sequence_length: decisions in a sequence.
        rewarded_share: share of the sequences that is drawn in proportion to the rewards above zero in them; where
            those are rare, neither model nor policy would else see enough of what earns them.
        starts: imagined trajectories in an actor-critic update.
        continued_share: share of them that begin where one of the last update ended, not in the replay: where the
            present policy leads, whether or not an environment was ever there.
        quiet_share: share of them, and of the episodes collected, without exploration: what noise keeps the policy
            out of is then learned from too. Box actions only.
        horizon: decisions in an imagined trajectory.
        discount: discount factor of one decision.
        trace: lambda of the lambda-returns.
        model_rate: learning rate of the world model (Adam).
        actor_rate: learning rate of the policy.
        critic_rate: learning rate of the value.
        decay_from: updates after which the learning rates fall, linearly,
        decay_to: until as many updates, when they stay at
        decay_share: this share of what they were; a policy that is good then stays good.
        slow_rate: share by which the slow value moves towards the value, an update.
        average_rate: share by which the deployed weights move towards the trained ones, an update.
        reward_weight: weight of the reward's squared error beside the observation's.
        entropy: weight of the exploration bonus (log standard deviation, or entropy of discrete actions).
        saturation: weight of the squared excess over 2 of box policies' outputs before tanh; beyond it next to no
            gradient is left, and a policy that is wrong there stays wrong.
        smallest_std: standard deviation below which exploration never falls.
        smallest_return_scale: floor of the 5 % to 95 % range of returns (normalised to [0, 1]) that scales the actor.
    """

    architecture: str = "gru"
    rssm: RssmConfig = RssmConfig()
    options: dict[str, Any] = {}
    hidden_size: int = Field(default=64, ge=1)
    width: int = Field(default=64, ge=1)
    batch_size: int = Field(default=48, ge=1)
    sequence_length: int = Field(default=10, ge=1)
    rewarded_share: float = Field(default=0.0, ge=0, le=1)
    starts: int = Field(default=96, ge=1)
    continued_share: float = Field(default=0.0, ge=0, lt=1)
    quiet_share: float = Field(default=0.0, ge=0, le=1)
    horizon: int = Field(default=16, ge=1)
    discount: float = Field(default=0.97, gt=0, lt=1)
    trace: float = Field(default=0.95, ge=0, le=1)
    model_rate: float = Field(default=1e-3, gt=0)
    actor_rate: float = Field(default=1e-3, gt=0)
    critic_rate: float = Field(default=1e-3, gt=0)
    decay_from: int = Field(default=4500, ge=0)
    decay_to: int = Field(default=9000, ge=1)
    decay_share: float = Field(default=0.1, gt=0, le=1)
    slow_rate: float = Field(default=0.05, gt=0, le=1)
    average_rate: float = Field(default=0.01, gt=0, le=1)
    reward_weight: float = Field(default=10.0, ge=0)
    entropy: float = Field(default=1e-3, ge=0)
    saturation: float = Field(default=0.0, ge=0)
    smallest_std: float = Field(default=0.1, gt=0, lt=1)
    smallest_return_scale: float = Field(default=0.03, gt=0)

    @field_validator("architecture")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in architecture_names():
            raise ValueError(f"there is no world model {name!r}; choose from {', '.join(architecture_names())}")
        return name


class EvaluationConfig(Settings):
    """How the policy is judged while it trains.

    Attributes:
        interval: frames between evaluations.
        episodes: episodes from native and as many from varied starts in each of them.
        process: whether a second process evaluates while training goes on; the results are the same.
    """

    interval: int = Field(default=1000, ge=1)
    episodes: int = Field(default=10, ge=1)
    process: bool = True


class TrainingConfig(Settings):
    """Everything that a training depends on; it is written to ``config.yaml`` of its run.

    Attributes:
        env: Gymnasium id; DeepMind Control tasks are ``dm_control/<domain>-<task>-v0``.
        action_repeat: physics steps (frames) that one decision lasts.
        terminates: whether episodes can end early (other than by a time limit), so that the model predicts it.
        seed: of everything random.
        frames: frames to collect.
        environments: environments that collect in lock step; the next round begins when each has ended its episode.
        random_frames: frames of random actions before the policy collects.
        random_correlation: of successive random actions.
        warmup_updates: updates on the random episodes before the policy collects.
        updates_per_decision: updates for each decision that is collected afterwards.
        planner: what decides while collecting, a name in `nmbrl.runtime.planners.PLANNERS`; the policy's own
            exploration is added to whatever it decides.
        planner_options: fields of `nmbrl.runtime.planners.PlannerOptions`.
        longest_episode: decisions after which an episode is cut off.
        longest_random_episode: the same of one with random actions; None is as long.
        capacity: decisions in memory that updates draw from; the oldest episodes drop out.
        calibration_episodes: newest episodes kept in ``calibration.npz`` for conversions.
        checkpoint_seconds: least time between two checkpoints; a killed training repeats what follows the last one.
        evaluation: how the policy is judged.
        learner: what learns.
    """

    env: str
    action_repeat: int = Field(default=1, ge=1)
    terminates: bool = True
    seed: int = Field(default=0, ge=0, lt=2**31)
    frames: int = Field(default=100_000, ge=1)
    environments: int = Field(default=1, ge=1)
    random_frames: int = Field(default=5000, ge=1)
    random_correlation: float = Field(default=0.8, ge=0, lt=1)
    warmup_updates: int = Field(default=500, ge=0)
    updates_per_decision: float = Field(default=2.0, ge=0)
    planner: str = "policy"
    planner_options: dict[str, Any] = {}
    longest_episode: int = Field(default=2000, ge=1)
    longest_random_episode: int | None = Field(default=None, ge=1)
    capacity: int = Field(default=1_000_000, ge=1)
    calibration_episodes: int = Field(default=8, ge=1)
    checkpoint_seconds: float = Field(default=10.0, ge=0)
    evaluation: EvaluationConfig = EvaluationConfig()
    learner: LearnerConfig = LearnerConfig()

    @field_validator("planner")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in PLANNERS:
            raise ValueError(f"there is no planner {name!r}; choose from {', '.join(PLANNERS)}")
        return name

    @field_validator("planner_options")
    @classmethod
    def _fits(cls, options: dict[str, Any]) -> dict[str, Any]:
        try:
            PlannerOptions.model_validate(options)
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
        return options
