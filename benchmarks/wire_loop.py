"""Long closed loops over the wire: equal states on every target, and no desynchronisation under faults."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from nmbrl.hil.client import Client
from nmbrl.hil.closed_loop import safe_action
from nmbrl.hil.controller import BoardController
from nmbrl.hil.executor import FUNCTIONS, BoardExecutor
from nmbrl.hil.faults import Faults, FaultyLink
from nmbrl.hil.links import Link
from nmbrl.runtime.environment import Environment
from nmbrl.runtime.perturbation import make_environment
from nmbrl.runtime.planners import PlannerOptions
from nmbrl.targets.bundle import read_bundle
from nmbrl.targets.c import CExecutor
from nmbrl.targets.c_planner import CPlanner
from nmbrl.targets.interface import Array, Executor, Task

POLICY = PlannerOptions()


class EndlessPlant:
    """An environment that starts anew where an episode ends, so that a controller can go on for any number of steps."""

    def __init__(self, environment: Environment, seed: int = 0) -> None:
        self._environment = environment
        self._seed = seed
        self.starts = 0
        self.rewards = 0.0
        self.observation = self._start()

    def _start(self) -> Array:
        self.starts += 1
        return self._environment.reset(self._seed + self.starts, varied=True)

    def step(self, action: Array) -> None:
        """Give the plant an action; `observation` is what it then shows."""
        self.observation, reward, terminated, truncated = self._environment.step(action)
        self.rewards += reward
        if terminated or truncated:
            self.observation = self._start()


@contextmanager
def open_plant(task: Task, env: str | None = None) -> Iterator[EndlessPlant]:
    """The plant of a task, or of another environment with the same spaces."""
    environment = make_environment(env or task.env, task.action_repeat, {})
    try:
        yield EndlessPlant(environment)
    finally:
        environment.close()


def compare_functions(link: Link, bundle: Path, others: dict[str, Executor], rows: int) -> dict[str, int]:
    """Count output elements of a board that differ from the other targets', over random inputs to every function."""
    board = BoardExecutor(read_bundle(bundle), Client(link))
    random = np.random.default_rng(0)
    differences = dict.fromkeys(others, 0)
    for function in FUNCTIONS:
        sizes = board.interface.input_sizes(function)
        inputs = {name: random.uniform(-4, 4, (rows, size)).astype(np.float32) for name, size in sizes.items()}
        outputs = board.call(function, inputs)
        for target, executor in others.items():
            expected = executor.call(function, inputs)
            differences[target] += sum(int((outputs[name] != expected[name]).sum()) for name in expected)
    return differences


def trace_executor(executor: Executor, library: CExecutor, plant: EndlessPlant, steps: int) -> tuple[Array, Array]:
    """Run the policy closed loop by calls of the functions: int8 states (steps, state_size), actions likewise."""
    state = executor.reset(1)
    action = np.zeros((1, executor.interface.task.action_size), np.float32)
    states, actions = [], []
    for _ in range(steps):
        state = executor.observe(state, action, plant.observation[None].astype(np.float32))
        action = executor.project_action(executor.act(state))
        states.append(library.quantise_state(state)[0].copy())
        actions.append(action[0].copy())
        plant.step(action[0])
    return np.array(states), np.array(actions)


def trace_library(planner: CPlanner, plant: EndlessPlant, steps: int) -> tuple[Array, Array]:
    """As `trace_executor`, in the shared library, whose state never leaves it."""
    planner.reset(0)
    action = np.zeros_like(planner.plan())
    planner.reset(0)
    states, actions = [], []
    for _ in range(steps):
        planner.update(action, plant.observation)
        action = planner.plan()
        states.append(planner.belief.copy())
        actions.append(action)
        plant.step(action)
    return np.array(states), np.array(actions)


def trace_board(link: Link, plant: EndlessPlant, steps: int) -> tuple[Array, Array]:
    """As `trace_executor`, on a board; the state is read back after every step."""
    controller = BoardController(Client(link), "policy")
    controller.reset(0)
    action = np.zeros(controller.model.action_size, np.float32)
    states, actions = [], []
    for _ in range(steps):
        decision = controller.decide(action, plant.observation)
        assert decision is not None
        action = decision.action
        states.append(controller.read_belief())
        actions.append(action)
        controller.keep_checkpoint()
        plant.step(action)
    return np.array(states), np.array(actions)


def endure(
    link: Link,
    library: CExecutor,
    plant: EndlessPlant,
    steps: int,
    faults: Faults,
    method: str = "policy",
    options: PlannerOptions = POLICY,
    report: Callable[[int], None] = lambda step: None,
) -> dict[str, Any]:
    """Run control steps over a link with faults, beside the same controller in this process.

    Returns:
        What happened: decisions that differ from this process's, that got no answer, whether the beliefs are equal at
        the end, what was injected, mended and counted.
    """
    faulty = FaultyLink(link, faults, seed=0)
    client = Client(faulty)
    controller = BoardController(client, method, options)
    reference = library.open_planner(method, options.model_dump())
    controller.reset(0)
    reference.reset(0)
    task = library.interface.task
    action = np.zeros(task.action_size, np.float32)
    differ = unanswered = 0
    begun = time.monotonic()
    for step in range(steps):
        faulty.before_decision()
        decision = controller.decide(action, plant.observation)
        controller.keep_checkpoint()
        reference.update(action, plant.observation)
        if decision is None:
            unanswered += 1
            action = safe_action(task)
        else:
            action = reference.plan()
            differ += not np.array_equal(action, decision.action)
        plant.step(action)
        report(step + 1)
    faulty.faults = Faults()
    return {
        "steps": steps,
        "faults": faults.model_dump(),
        "planner": method,
        "decisions_that_differ": differ,
        "decisions_unanswered": unanswered,
        "belief_bytes_that_differ": int((controller.read_belief() != reference.belief).sum()),
        "mean_reward": plant.rewards / steps,
        "injected": dict(faulty.counts),
        "link": dict(client.counts),
        "mended": dict(controller.counts),
        "seconds": time.monotonic() - begun,
    }
