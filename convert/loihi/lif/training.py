"""Training a spiking student: the world model first, then policy and value on states that the student itself visits."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from nmbrl.convert.loihi.lif.arithmetic import straight_through
from nmbrl.convert.loihi.lif.episodes import Corpus, dream, hidden, label, play, replayed
from nmbrl.convert.loihi.lif.student import Sizes, Student
from nmbrl.targets.interface import Array, Interface
from nmbrl.train import tensors
from nmbrl.train.deployed import TorchExecutor

if TYPE_CHECKING:
    from nmbrl.train.run import Run

# Errors of an action are smoothed over so many decisions, and those that last count besides.
LASTING = 4
# Metrics are averages over about so many updates.
WINDOW = 100
# Noise of the lanes of a round; with 1 the policy has no say.
TEACHER_NOISE = (0.0, 0.1, 0.3, 0.3, 0.6, 1.0)
STUDENT_NOISE = (0.0, 0.0, 0.0, 0.1, 0.3)


@dataclass(frozen=True)
class Schedule:
    """How long and on what a student learns.

    Attributes:
        world_updates: of the world model.
        policy_updates: of policy and value.
        rounds: times that the student plays, spread over the first three quarters of the policy's updates.
        episodes: a round.
        teacher_episodes: that the teacher plays before, with noise.
        dreams: episodes that the teacher imagines.
        dream_length: decisions of each.
        batch: sequences of an update.
        burn_in: decisions that a sequence begins with before any counts, while potentials settle.
        teacher_forced: decisions of a world model's sequence that begin from the true observation.
        open_loop: those after them, that begin from what it imagined.
        policy_length: decisions of a policy's sequence that count.
        value_batch: states of a value's update.
        rate: learning rate at first; it falls to a twentieth, along half a cosine.
    """

    world_updates: int = 4000
    policy_updates: int = 5000
    rounds: int = 6
    episodes: int = 8
    teacher_episodes: int = 24
    dreams: int = 192
    dream_length: int = 15
    batch: int = 48
    burn_in: int = 1
    teacher_forced: int = 1
    open_loop: int = 4
    policy_length: int = 5
    value_batch: int = 192
    rate: float = 2e-3

    @property
    def updates(self) -> int:
        """Updates in all."""
        return self.world_updates + self.policy_updates

    def scaled(self, updates: int) -> "Schedule":
        """Return the same with so many updates in all."""
        world = max(1, round(self.world_updates * updates / self.updates))
        return replace(self, world_updates=world, policy_updates=max(1, updates - world))

    def due(self, done: int) -> int:
        """Return how many rounds the student should have played before it goes on from so many updates."""
        each = max(1, int(0.75 * self.policy_updates / max(self.rounds, 1)))
        return min(self.rounds, max(0, done - self.world_updates) // each)


@dataclass(frozen=True)
class Aims:
    """What errors are measured in, and what contexts stand for.

    Attributes:
        change: standard deviation of the change of each observation dimension in a decision (size,).
        reward: of the reward (1,).
        value: of the value (1,).
        centre: mean of the teacher's hidden state (size,).
        components: its principal components, over their standard deviations (size, context).
    """

    change: Tensor
    reward: Tensor
    value: Tensor
    centre: Tensor
    components: Tensor

    def context(self, interface: Interface, state: Array) -> Tensor:
        """Return the contexts (..., context) that stand for a teacher's beliefs (..., state_size)."""
        flat = hidden(interface, state.reshape(-1, state.shape[-1]))
        return ((torch.from_numpy(flat) - self.centre) @ self.components).reshape(*state.shape[:-1], -1)


class Trainer:
    """Trains a student of a run; one that loads what another saved goes on to the same student.

    Args:
        run: what `nmbrl.train.run.open_run` gives.
        sizes: of the student.
        schedule: see `Schedule`.
        seed: of everything random.

    Attributes:
        student: what is trained.
        done: updates so far.
        played: rounds so far.
        metrics: averages of losses, by name.
    """

    def __init__(self, run: "Run", sizes: Sizes, schedule: Schedule, seed: int) -> None:
        self.run, self.schedule, self.seed = run, schedule, seed
        self.teacher = TorchExecutor(run.model)
        self.generator = torch.Generator().manual_seed(seed)
        self.student = Student(run.model.interface, sizes, self.generator)
        self.parts = {"world": [self.student.world], "policy": [self.student.policy, self.student.critic]}
        self.optimisers = {
            name: torch.optim.Adam([p for part in parts for p in part.parameters()])
            for name, parts in self.parts.items()
        }
        self.done = self.played = 0
        self.metrics: dict[str, float] = {}
        self.corpus: Corpus | None = None

    def train(self) -> Iterator[str]:
        """Train to the end, and say before every update, or what else takes as long, what comes next."""
        schedule = self.schedule
        if self.corpus is None:
            yield "the teacher plays"
            self._begin()
        while self.done < schedule.updates:
            if self.done == schedule.world_updates:
                yield "the world model is run"
                assert self.corpus is not None
                self.corpus = self._with_context(self.corpus)
            if self.played < schedule.due(self.done):
                yield f"the student plays, round {self.played + 1} of {schedule.rounds}"
                self._play(self.played)
                self.played += 1
            if self.done < schedule.world_updates:
                yield "world model"
                self._update("world", self.done / schedule.world_updates, self._world_loss)
            else:
                yield "policy and value"
                progress = (self.done - schedule.world_updates) / schedule.policy_updates
                self._update("policy", progress, self._policy_loss)
            self.done += 1

    def save(self) -> bytes:
        """Return all that goes on training, as the bytes of a file."""
        assert self.corpus is not None
        content = {f"student.{name}": tensor for name, tensor in self.student.state_dict().items()}
        content |= {f"corpus.{f.name}": torch.from_numpy(getattr(self.corpus, f.name)) for f in fields(Corpus)}
        content |= {f"aims.{f.name}": getattr(self.aims, f.name) for f in fields(Aims)}
        for name, optimiser in self.optimisers.items():
            for index, state in optimiser.state_dict()["state"].items():
                content |= {f"adam.{name}.{index}.{key}": tensor for key, tensor in state.items()}
        record = {"done": self.done, "played": self.played, "metrics": self.metrics, "origin": self._origin()}
        content["generator"] = self.generator.get_state()
        return tensors.pack(content, record)

    def load(self, content: bytes, source: str) -> bool:
        """Go on from what `save` gave; return False where that was of another run, size, schedule or seed.

        Raises:
            NmbrlError: if it is damaged.
        """
        found, record = tensors.unpack(content, source)
        if record.get("origin") != self._origin():
            return False
        self.student.load_state_dict(_with_prefix(found, "student."))
        self.corpus = Corpus(**{name: array.numpy() for name, array in _with_prefix(found, "corpus.").items()})
        self.aims = Aims(**_with_prefix(found, "aims."))
        for name, optimiser in self.optimisers.items():
            state: dict[int, dict[str, Tensor]] = {}
            for key, tensor in _with_prefix(found, f"adam.{name}.").items():
                index, _, variable = key.partition(".")
                state.setdefault(int(index), {})[variable] = tensor
            optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
        self.generator.set_state(found["generator"])
        self.done, self.played, self.metrics = record["done"], record["played"], record["metrics"]
        return True

    def _origin(self) -> list[str]:
        """What a checkpoint must agree in."""
        return [self.run.id, repr(self.student.sizes), repr(self.schedule), str(self.seed)]

    def _begin(self) -> None:
        """Gather the first data, and choose by it what errors are measured in and how fine the readouts are."""
        schedule, random = self.schedule, np.random.default_rng([self.seed, 0])
        strengths = np.resize(TEACHER_NOISE, schedule.teacher_episodes)
        played = play(self.teacher, *self._starts(0, schedule.teacher_episodes), strengths.tolist())
        real = label(self.teacher, [*replayed(self.run.calibration), *played])
        chosen = random.choice(len(real.x), schedule.dreams)
        self.corpus = real + dream(self.teacher, real.state[chosen], schedule.dream_length, random)
        self.aims = measure_aims(self.run.model.interface, real, self.student.sizes.context)
        student, aims = self.student, self.aims
        ones = torch.ones(student.sizes.context), torch.full((student.predictions[-1],), 0.5)
        student.world.set_spread(torch.cat([aims.change, ones[0], aims.reward, ones[1]]))
        student.policy.set_spread(torch.from_numpy(real.policy).std(0))
        student.critic.set_spread(aims.value)
        means = torch.zeros(sum(student.predictions))
        means[sum(student.predictions[:2])] = float(real.reward.mean())
        means[sum(student.predictions[:3]) :] = 1.0
        student.world.set_means(means)
        student.critic.set_means(torch.tensor([real.value.mean()]))

    def _play(self, index: int) -> None:
        """Let the student play, with noise of another strength in each lane, and the teacher say what it would do."""
        strengths = np.resize(STUDENT_NOISE, self.schedule.episodes)
        executor = TorchExecutor(self.student)
        played = play(executor, *self._starts(1 + index, self.schedule.episodes), strengths.tolist())
        assert self.corpus is not None
        self.corpus += self._with_context(label(self.teacher, played))

    def _starts(self, index: int, count: int) -> tuple[list[int], list[bool]]:
        """Return seeds of episodes that no evaluation uses, and whether each begins with a random prefix."""
        seeds = np.random.default_rng([self.seed, 1, index]).integers(1 << 31, 1 << 32, count)
        return seeds.tolist(), [lane % 2 == 1 for lane in range(count)]

    def _with_context(self, corpus: Corpus) -> Corpus:
        """Run the student's world model along episodes, and note the contexts that it hands to the policy."""
        starts = np.flatnonzero(np.append(0, corpus.left[:-1, 0]) == 0)
        lengths = np.diff(np.append(starts, len(corpus.x)))
        x, action = torch.from_numpy(corpus.x), torch.from_numpy(corpus.action)
        context = np.zeros((len(x), self.student.sizes.context), np.float32)
        with torch.no_grad():
            rounded = self.student.rounded()
            before_x, before_action = torch.zeros(len(starts), x.shape[1]), torch.zeros(len(starts), action.shape[1])
            u, v = rounded.world.rest(len(starts))
            for t in range(lengths.max()):
                going = torch.from_numpy(lengths > t)
                starts, lengths = starts[going.numpy()], lengths[going.numpy()]
                rows = starts + t
                predicted = rounded.predict(before_x[going], before_action[going], u[going], v[going])
                context[rows] = predicted.context.numpy()
                before_x, before_action, u, v = x[rows], action[rows], predicted.u, predicted.v
        return replace(corpus, context=context)

    def _update(self, name: str, progress: float, loss: Callable[[], dict[str, Tensor]]) -> None:
        losses = loss()
        optimiser = self.optimisers[name]
        for group in optimiser.param_groups:
            group["lr"] = self.schedule.rate * (0.05 + 0.475 * (1 + math.cos(math.pi * progress)))
        optimiser.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        torch.nn.utils.clip_grad_norm_([p for group in optimiser.param_groups for p in group["params"]], 1.0)
        optimiser.step()
        for key, value in losses.items():
            former = self.metrics.get(key, value.item())
            self.metrics[key] = former + (value.item() - former) / WINDOW

    def _windows(self, length: int) -> tuple[Corpus, np.ndarray]:
        """Draw sequences: the corpus and rows (batch, length + 1) of it."""
        assert self.corpus is not None
        starts = self.corpus.starts(length)
        drawn = torch.randint(len(starts), (self.schedule.batch,), generator=self.generator).numpy()
        return self.corpus, starts[drawn][:, None] + np.arange(length + 1)

    def _world_loss(self) -> dict[str, Tensor]:
        """Errors of predictions, one decision ahead and then on and on, in standard deviations of what is predicted."""
        schedule, aims = self.schedule, self.aims
        forced = schedule.burn_in + schedule.teacher_forced
        corpus, rows = self._windows(forced + schedule.open_loop)
        x, action = torch.from_numpy(corpus.x[rows]), torch.from_numpy(corpus.action[rows])
        reward, continues = torch.from_numpy(corpus.reward[rows]), torch.from_numpy(corpus.continues[rows])
        context = aims.context(self.run.model.interface, corpus.state[rows])
        student = self.student.rounded()
        u, v = student.world.rest(len(rows))
        errors: dict[str, list[Tensor]] = {"observation": [], "reward": [], "context": [], "continue": []}
        imagined = x[:, 0]
        for t in range(rows.shape[1] - 1):
            predicted = student.predict(x[:, t] if t < forced else imagined, action[:, t], u, v)
            imagined, u, v = predicted.x, predicted.u, predicted.v
            if t >= schedule.burn_in:
                errors["observation"].append((predicted.x - x[:, t + 1]) / aims.change)
                errors["reward"].append((predicted.reward - reward[:, t]) / aims.reward)
                errors["context"].append(0.3 * (predicted.context - context[:, t + 1]))
                errors["continue"].append(2 * (predicted.continues - continues[:, t]))
        return {name: _huber(torch.stack(parts)) for name, parts in errors.items() if parts[0].numel()}

    def _policy_loss(self) -> dict[str, Tensor]:
        """Errors of actions and of values."""
        schedule, discrete = self.schedule, self.student.interface.task.action_kind == "discrete"
        corpus, rows = self._windows(schedule.burn_in + schedule.policy_length - 1)
        x, context, policy = (torch.from_numpy(array[rows]) for array in (corpus.x, corpus.context, corpus.policy))
        student = self.student.rounded()
        u, v = student.policy.rest(len(rows))
        actions = []
        for t in range(rows.shape[1]):
            action, u, v = student.decide(x[:, t], context[:, t], u, v)
            actions.append(action)
        chosen, wanted = torch.stack(actions, 1)[:, schedule.burn_in :], policy[:, schedule.burn_in :]
        losses = {"action": _logit_loss(chosen, wanted) if discrete else _action_loss(chosen, wanted)}
        drawn = torch.randint(len(corpus.x), (schedule.value_batch,), generator=self.generator).numpy()
        value = student.judge(torch.from_numpy(corpus.x[drawn]), torch.from_numpy(corpus.context[drawn]))
        losses["value"] = _huber((value - torch.from_numpy(corpus.value[drawn])) / self.aims.value)
        return losses


def measure_aims(interface: Interface, corpus: Corpus, context: int) -> Aims:
    """Measure `Aims` on a corpus."""
    follows = corpus.left[:-1, 0] > 0
    change = np.diff(corpus.x, axis=0)[follows].std(0)
    belief = hidden(interface, corpus.state).astype(np.float64)
    _, size, directions = np.linalg.svd(belief - belief.mean(0), full_matrices=False)
    scale = math.sqrt(len(belief)) / np.maximum(size[:context], 1e-3 * size[0])

    def tensor(array: Array) -> Tensor:
        # In C order, as a checkpoint has it: products of matrices in another order may round otherwise.
        return torch.from_numpy(np.atleast_1d(array).astype(np.float32, order="C"))

    return Aims(
        change=tensor(change).clamp_min(1e-3),
        reward=tensor(corpus.reward[:-1][follows].std()).clamp_min(1e-3),
        value=tensor(corpus.value.std()).clamp_min(1e-3),
        centre=tensor(belief.mean(0)),
        components=tensor(directions[:context].T * scale),
    )


def _huber(error: Tensor) -> Tensor:
    """Mean of squares where errors are small, of magnitudes where they are large."""
    return nn.functional.smooth_l1_loss(error, torch.zeros_like(error))


def _action_loss(chosen: Tensor, wanted: Tensor) -> Tensor:
    """Error of box actions (batch, decisions, size) as the environment takes them, and what of it lasts."""
    error = straight_through(chosen.clamp(-1, 1), chosen) - wanted
    lasting = error[:, 0]
    loss = error.square().mean()
    for t in range(1, error.shape[1]):
        lasting = lasting + (error[:, t] - lasting) / LASTING
    return loss + lasting.square().mean()


def _logit_loss(chosen: Tensor, wanted: Tensor) -> Tensor:
    """Divergence of the policy from the teacher's."""
    return -(wanted.double().softmax(-1) * chosen.log_softmax(-1)).sum(-1).mean()


def _with_prefix(content: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in content.items() if name.startswith(prefix)}
