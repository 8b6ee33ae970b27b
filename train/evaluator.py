"""Judging policies while training goes on: in a second process, or at once where that is asked for."""

import json
import subprocess
import sys
from contextlib import suppress
from typing import IO, Any

import numpy as np
import torch

from nmbrl.runtime.closed_loop import run_episodes
from nmbrl.runtime.environment import Environment
from nmbrl.runtime.planners import make_planner
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.interface import Frozen
from nmbrl.train.config import TrainingConfig
from nmbrl.train.deployed import TorchExecutor
from nmbrl.train.run import unpack_model

# Far from the seeds that `nmbrl-run` uses, so that the choice of the best policy says nothing about those.
FIRST_SEED = 1_000_000_007
SEED_STRIDE = 1000


class Score(Frozen):
    """Returns of a policy's mean actions.

    Attributes:
        native: from the environment's own starts.
        varied: from starts after a random prefix, over what follows it.
    """

    native: tuple[float, ...]
    varied: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean over all episodes, which the best policy is chosen by."""
        return float(np.mean(self.native + self.varied))

    @property
    def mean_native(self) -> float:
        """Mean return of the native episodes."""
        return float(np.mean(self.native))

    @property
    def mean_varied(self) -> float:
        """Mean return of the varied episodes."""
        return float(np.mean(self.varied))


class Evaluator:
    """Evaluates here and now.

    Args:
        config: of the training.
    """

    def __init__(self, config: TrainingConfig) -> None:
        self.config = config
        self._environments: list[Environment] = []
        self._score: Score | None = None

    def submit(self, model: bytes) -> None:
        """Begin to evaluate a model that `nmbrl.train.run.pack_model` gave; one at a time."""
        self._score = self._evaluate(model)

    def result(self) -> Score:
        """Return the score of what was submitted; waits for it."""
        assert self._score is not None
        return self._score

    def close(self) -> None:
        """Release the environments."""
        for environment in self._environments:
            environment.close()

    def _evaluate(self, content: bytes) -> Score:
        config = self.config
        count = config.evaluation.episodes
        if not self._environments:
            self._environments = [Environment(config.env, config.action_repeat) for _ in range(2 * count)]
        model, _ = unpack_model(content, "the model under evaluation", config)
        seeds = [FIRST_SEED + SEED_STRIDE * index for index in range(count)]
        varied = [False] * count + [True] * count
        planner = make_planner("policy", TorchExecutor(model))
        returns = [e.total for e in run_episodes(planner, self._environments, 2 * seeds, varied)]
        return Score(native=tuple(returns[:count]), varied=tuple(returns[count:]))


class ProcessEvaluator(Evaluator):
    """Evaluates in a process of its own, which ends when this one does.

    Args:
        config: of the training.
    """

    def __init__(self, config: TrainingConfig) -> None:
        super().__init__(config)
        command = [sys.executable, "-m", "nmbrl.train.evaluator"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._send(config.model_dump_json().encode())

    def submit(self, model: bytes) -> None:
        """See `Evaluator.submit`."""
        self._send(model)

    def result(self) -> Score:
        """See `Evaluator.result`.

        Raises:
            NmbrlError: if the evaluation failed.
        """
        assert self._process.stdout is not None
        answer = json.loads(_receive(self._process.stdout) or b"{}")
        if "score" not in answer:
            raise NmbrlError(f"evaluation failed: {answer.get('error', 'its process ended')}")
        return Score.model_validate(answer["score"])

    def close(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        with suppress(BrokenPipeError):
            self._process.communicate()

    def _send(self, message: bytes) -> None:
        assert self._process.stdin is not None
        try:
            _send(self._process.stdin, message)
        except OSError as error:
            raise NmbrlError("evaluation failed: its process ended") from error


def make_evaluator(config: TrainingConfig) -> Evaluator:
    """Return the evaluator that the configuration asks for."""
    return ProcessEvaluator(config) if config.evaluation.process else Evaluator(config)


def _send(stream: IO[bytes], message: bytes) -> None:
    stream.write(len(message).to_bytes(8, "little") + message)
    stream.flush()


def _receive(stream: IO[bytes]) -> bytes | None:
    """Return the next message; None at the end of the stream."""
    header = stream.read(8)
    return stream.read(int.from_bytes(header, "little")) if len(header) == 8 else None


def _serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answer one evaluation after the other until the other side closes."""
    torch.set_num_threads(1)
    evaluator = Evaluator(TrainingConfig.model_validate_json(_receive(requests) or b"{}"))
    while (model := _receive(requests)) is not None:
        try:
            evaluator.submit(model)
            answer: dict[str, Any] = {"score": evaluator.result().model_dump()}
        except NmbrlError as error:
            answer = {"error": str(error)}
        _send(answers, json.dumps(answer).encode())


def main() -> None:
    """Run the second process: messages come on standard input, answers go to what was standard output."""
    answers = sys.stdout.buffer
    # Whatever a library prints must not mix with the answers.
    sys.stdout = sys.stderr
    _serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
