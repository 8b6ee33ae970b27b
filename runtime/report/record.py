"""A closed loop on disk: what `nmbrl-run --json` and `nmbrl-hil --json` write, and what a report keeps of its own.

A record holds the actions of every episode. Played again, they give the observations, and must give the returns that
the record tells of: so it is known that both are of the same environment.
"""

import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nmbrl.runtime.closed_loop import Episode
from nmbrl.runtime.environment import Environment
from nmbrl.runtime.evaluation import SEED_STRIDE, Evaluation
from nmbrl.runtime.loihi.counting import Tally
from nmbrl.runtime.perturbation import make_environment
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.files import write_text
from nmbrl.targets.interface import Executor

# Relative difference of returns that sums of rewards in another order may have.
TOLERANCE = 1e-6

EpisodeActions = list[list[list[float]]]


class Record(BaseModel):
    """The fields that a report reads; others are left alone.

    Attributes:
        decision_ms: ``median``, ``p95`` and ``max`` of the time of a decision where it was measured.
        counts_per_decision: calls of functions and events.
        chip: populations, cores and modelled times, of a neuromorphic target.
        board: its name, where one decided.
        core: its processor, where that is known.
        provenance: where the model comes from, by label.
        firmware: bytes that it takes on the board.
        command: repeats the closed loop.
        instructions: counted on an emulated board.
        faults: asked for, injected, seen on the link, mended.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    target: str
    planner: str
    env: str
    action_repeat: int = Field(ge=1)
    seed: int
    episodes: int = Field(ge=1)
    perturbation: dict[str, float] = Field(default_factory=dict)
    returns: list[float]
    returns_varied: list[float]
    actions: EpisodeActions
    actions_varied: EpisodeActions
    decision_ms: dict[str, float]
    counts_per_decision: dict[str, float]
    chip: dict[str, Any] | None = None
    board: str | None = None
    core: str | None = None
    mode: str | None = None
    deadline_ms: float | None = None
    decisions: int = 0
    safe_actions: int = 0
    longest_outage: int = 0
    late_answers: dict[str, Any] = Field(default_factory=dict)
    plant_overruns: int = 0
    provenance: dict[str, str] = Field(default_factory=dict)
    firmware: dict[str, int] | None = None
    command: str = ""
    instructions: dict[str, Any] | None = None
    faults: dict[str, dict[str, float]] = Field(default_factory=dict)


def read_record(path: Path) -> Record:
    """Read a record.

    Raises:
        NmbrlError: if it is none, is damaged, or was written before records held actions.
    """
    try:
        record = Record.model_validate(json.loads(path.read_text()))
    except OSError as error:
        raise NmbrlError(f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "top level"
        raise NmbrlError(
            f"{path} is no record of nmbrl-run or nmbrl-hil --json, or an old one: {where}: {first['msg'].lower()}"
        ) from error
    except ValueError as error:
        raise NmbrlError(f"{path} is no JSON: {error}") from error
    for kind in (record.returns, record.returns_varied, record.actions, record.actions_varied):
        if len(kind) != record.episodes:
            raise NmbrlError(f"{path} is damaged: it tells of {record.episodes} episodes and holds {len(kind)}")
    return record


def make_record(evaluation: Evaluation, executor: Executor) -> Record:
    """Describe a closed loop that a freshly opened model has just run."""
    return Record.model_validate({**evaluation.to_json(), "chip": _chip(evaluation, executor)})


def write_record(path: Path, record: Record) -> None:
    """Write a record, whole or not at all."""
    write_text(path, record.model_dump_json() + "\n")


def play(record: Record, source: str) -> list[Episode]:
    """Take a record's actions in its environment; return the native episodes, then the varied ones.

    Args:
        record: what to play.
        source: its name, for the error.

    Raises:
        NmbrlError: if the environment gives other returns than the record tells of.
    """
    episodes: list[Episode] = []
    with closing(make_environment(record.env, record.action_repeat, record.perturbation)) as environment:
        for varied, actions, returns in (
            (False, record.actions, record.returns),
            (True, record.actions_varied, record.returns_varied),
        ):
            for index, (taken, returned) in enumerate(zip(actions, returns, strict=True)):
                episode = play_episode(environment, record.seed + SEED_STRIDE * index, varied, taken)
                if not np.isclose(episode.total, returned, rtol=TOLERANCE, atol=TOLERANCE):
                    raise NmbrlError(
                        f"{source}: played again, its episode {index} returns {episode.total:.6g}, not {returned:.6g}: "
                        "it is of another environment or version"
                    )
                episodes.append(episode)
    return episodes


def play_episode(
    environment: Environment, seed: int, varied: bool, actions: Sequence[Sequence[float]], after: Any = lambda: None
) -> Episode:
    """Take given actions from a seeded start, calling `after` after the start and after each of them."""
    episode = Episode(seed, varied, [environment.reset(seed, varied=varied)])
    after()
    for action in np.asarray(actions, np.float32):
        observation, reward, terminated, _ = environment.step(action)
        episode.observations.append(observation)
        episode.actions.append(action)
        episode.rewards.append(reward)
        episode.terminated = terminated
        after()
    return episode


def _chip(evaluation: Evaluation, executor: Executor) -> dict[str, Any] | None:
    """Where the events of a network of neurons fell; None for executors that have none."""
    if not evaluation.messages:
        return None
    chip: Any = executor
    tally = Tally(
        executor=chip,
        planner=evaluation.planner,
        seed=evaluation.seed,
        episodes=evaluation.native + evaluation.varied,
        counts=evaluation.counts,
        messages=evaluation.messages,
        silent=[],
    )
    return {
        "populations": tally.populations(),
        "cores": tally.cores(),
        "latency": [estimate.model_dump() for estimate in tally.latencies()],
    }
