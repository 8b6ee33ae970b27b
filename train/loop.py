"""The training loop: collect with the newest policy, update in between, evaluate beside, save now and then."""

import time
from contextlib import ExitStack
from pathlib import Path

import torch

from nmbrl.runtime.environment import Environment
from nmbrl.targets.errors import NmbrlError
from nmbrl.train.collect import BATCHES, Collector, stream
from nmbrl.train.config import TrainingConfig
from nmbrl.train.evaluator import make_evaluator
from nmbrl.train.learner import Learner
from nmbrl.train.metrics import Means, MetricsLog
from nmbrl.train.progress import Display, Status
from nmbrl.train.replay import Replay
from nmbrl.train.run import Checkpoint, Counters, RunDirectory, pack_model
from nmbrl.train.scales import measure

# The normalisation is measured again when the replay has grown by this share.
GROWTH = 0.02


def train(config: TrainingConfig, out: Path) -> Counters:
    """Train, or continue what `out` holds, until `config.frames`.

    Everything random is drawn from streams numbered by round and update, and checkpoints fall between rounds, so that
    a training which was killed goes on exactly as it would have.

    Args:
        config: what to train; `out` holds the same configuration (but for ``frames``) or nothing.
        out: directory of the run.

    Returns:
        Where the training stands at its end.

    Raises:
        NmbrlError: if the environment cannot be made or used, training diverges, or something cannot be written; the
            last checkpoint is then still there.
    """
    torch.set_num_threads(1)
    with ExitStack() as stack:
        training = Training(config, RunDirectory(out), stack)
        while training.counters.frames < config.frames:
            training.play_round()
        training.finish()
        return training.counters


class Training:
    """A training under way; see `train`.

    Args:
        config: what to train.
        run: where it is kept.
        stack: closes what this opens.

    Attributes:
        counters: where it stands.
    """

    def __init__(self, config: TrainingConfig, run: RunDirectory, stack: ExitStack) -> None:
        self.config = config
        self._run = run
        checkpoint = run.read_checkpoint()
        self.counters = checkpoint.counters if checkpoint else Counters(next_evaluation=config.random_frames)
        if checkpoint is None and run.holds_model():
            raise NmbrlError(f"{run.path} was slimmed and cannot be resumed: give another --out")
        self._environments: list[Environment] = []
        for _ in range(config.environments):
            self._environments.append(Environment(config.env, config.action_repeat))
            stack.callback(self._environments[-1].close)
        task = self._environments[0].task
        self._replay = Replay(task.observation_size, task.action_size, config.capacity)
        self._learner = Learner(config.learner, task, config.seed, config.terminates)
        self._collector = Collector(config, self._environments, self._replay)
        self._evaluator = make_evaluator(config)
        stack.callback(self._evaluator.close)
        self._pending: bytes | None = None
        if checkpoint:
            self._restore(checkpoint)
        run.truncate_metrics(self.counters.metrics_bytes)
        run.write_config(config)
        if checkpoint is None:
            run.write_checkpoint(Checkpoint(self.counters, {}, None))
        self._log = MetricsLog(run.path, self.counters.frames)
        stack.callback(self._log.close)
        self._means = Means()
        self._display = stack.enter_context(Display(config.frames))
        self._clock = self._saved = time.monotonic()

    def play_round(self) -> None:
        """Play one episode in every environment, with updates in between, and what is due after it."""
        counters, config = self.counters, self.config
        random = counters.frames < config.random_frames
        after = self._explored if random else self._decided
        played = self._collector.play(counters.rounds, None if random else self._learner, after)
        counters.rounds += 1
        counters.frames += played.frames
        counters.episodes += len(played.returns)
        counters.dropped += played.dropped
        counters.collected = sum(played.returns) / len(played.returns)
        if played.dropped:
            self._display.say(f"warning: {played.dropped} decisions dropped, they hold values that are not finite")
        if self._replay.decisions > (1 + GROWTH) * counters.measured:
            arrays = [stretch.arrays() for stretch in self._replay.closed]
            self._learner.set_scales(measure([a["o"] for a in arrays], [a["r"] for a in arrays], config.action_repeat))
            counters.measured = self._replay.decisions
        if random and counters.frames >= config.random_frames:
            self._update_until_due("first updates")
        self._log_round(played.returns)
        if not random and counters.frames >= counters.next_evaluation:
            self._take_score()
            self._submit()
        if time.monotonic() - self._saved >= config.checkpoint_seconds:
            self._save()

    def finish(self) -> None:
        """Evaluate what was not, and save."""
        if self.counters.evaluated == self.counters.updates and self.counters.pending is None:
            return
        self._show("last evaluation")
        self._take_score()
        if self.counters.evaluated != self.counters.updates:
            self._submit()
            self._take_score()
        self._save()

    def _explored(self, _: int, returns: list[float]) -> None:
        self._show("random episodes", returns)

    def _decided(self, decisions: int, returns: list[float]) -> None:
        """After each step of the environments: make the updates that its decisions are worth."""
        self.counters.decisions += decisions
        self._update_until_due("training", returns)

    def _update_until_due(self, phase: str, returns: list[float] | None = None) -> None:
        config, counters = self.config, self.counters
        due = config.warmup_updates + int(config.updates_per_decision * counters.decisions)
        while counters.updates < due:
            random = stream(config.seed, BATCHES, counters.updates)
            learner = config.learner
            batch = self._replay.sample(random, learner.batch_size, learner.sequence_length, learner.rewarded_share)
            self._means.add(self._learner.update(batch))
            counters.updates += 1
            self._show(phase, returns)

    def _submit(self) -> None:
        """Have the present policy evaluated while training goes on."""
        counters = self.counters
        self._pending = pack_model(self._learner.model)
        counters.pending = counters.frames, counters.updates
        counters.evaluated = counters.updates
        while counters.next_evaluation <= counters.frames:
            counters.next_evaluation += self.config.evaluation.interval
        self._evaluator.submit(self._pending)

    def _take_score(self) -> None:
        """Take in the result of the evaluation under way, if any, and keep its policy if it is the best so far."""
        counters = self.counters
        if counters.pending is None or self._pending is None:
            return
        score = self._evaluator.result()
        frames, updates = counters.pending
        counters.last = score.mean
        better = counters.best is None or score.mean > counters.best
        if better:
            self._run.write_model(self._pending)
            counters.best = score.mean
        figures = {
            "updates": updates,
            "mean_return": score.mean_native,
            "mean_return_varied": score.mean_varied,
            "score": score.mean,
            "best": counters.best,
            "returns": score.native,
            "returns_varied": score.varied,
        }
        self._log.write("evaluation", frames, figures)
        self._display.say(
            f"{frames} frames: return {score.mean_native:.1f} native, {score.mean_varied:.1f} varied"
            + (", kept" if better else "")
        )
        counters.pending = None
        self._pending = None

    def _log_round(self, returns: list[float]) -> None:
        counters = self.counters
        figures = {
            "updates": counters.updates,
            "episodes": counters.episodes,
            "return": sum(returns) / len(returns),
            "dropped": counters.dropped,
            "seconds": round(self._seconds(), 3),
        }
        self._log.write("training", counters.frames, figures | self._means.take())

    def _save(self) -> None:
        """Write a checkpoint; what it counts is written before it."""
        counters, replay = self.counters, self._replay
        if replay.fresh:
            self._run.write_chunk(counters.chunks, replay.fresh)
            replay.fresh.clear()
            counters.chunks += 1
        self._run.write_calibration(replay.calibration(self.config.calibration_episodes))
        if counters.best is None:
            self._run.write_model(pack_model(self._learner.model))
        counters.seconds = self._seconds()
        counters.metrics_bytes = self._log.size
        self._run.write_checkpoint(Checkpoint(counters, self._learner.state(), self._pending))
        self._clock = self._saved = time.monotonic()

    def _restore(self, checkpoint: Checkpoint) -> None:
        if checkpoint.learner:
            self._learner.restore(checkpoint.learner)
        for stretch in self._run.read_chunks(checkpoint.counters.chunks):
            self._replay.add(stretch)
        self._pending = checkpoint.pending
        if self._pending is not None:
            self._evaluator.submit(self._pending)

    def _seconds(self) -> float:
        """Seconds spent training, in this process and those before it."""
        return self.counters.seconds + time.monotonic() - self._clock

    def _show(self, phase: str, returns: list[float] | None = None) -> None:
        counters = self.counters
        running = sum(environment.frames for environment in self._environments) if returns else 0
        collected = sum(returns) / len(returns) if returns else counters.collected
        status = Status(counters.frames + running, counters.updates, phase, collected, counters.last, counters.best)
        self._display.show(status)
