import numpy as np
import pytest
import torch
from torch.distributions import Categorical, Independent, Normal, kl_divergence

from nmbrl.targets.interface import Task
from nmbrl.train.config import LearnerConfig, RssmConfig
from nmbrl.train.deployed import TorchExecutor
from nmbrl.train.learner import Learner
from nmbrl.train.models.rssm import SMALLEST_STD, UNIFORM, Rssm
from nmbrl.train.scales import measure

SMALL = LearnerConfig(
    architecture="rssm",
    hidden_size=16,
    width=16,
    batch_size=16,
    sequence_length=8,
    starts=16,
    horizon=4,
    model_rate=3e-3,
    rssm=RssmConfig(latents=4),
)


def task(discrete: bool = False) -> Task:
    kind = "discrete" if discrete else "box"
    return Task(env="test/Oscillator-v0", action_repeat=1, observation_size=2, action_kind=kind, action_size=2)


def make(classes: int, terminates: bool, discrete: bool = False) -> Rssm:
    torch.manual_seed(0)
    model = Rssm(task(discrete), terminates, 0.99, 16, 16, RssmConfig(latents=4, classes=classes))
    model.generator = torch.Generator().manual_seed(1)
    return model


def oscillator(random: np.random.Generator, batch: int = 16, length: int = 8) -> dict[str, np.ndarray]:
    """A driven oscillator whose second observation is its velocity; the reward is its height."""
    o, a = np.zeros((batch, length + 1, 2)), random.uniform(-1, 1, (batch, length, 2))
    o[:, 0] = random.normal(size=(batch, 2))
    for t in range(length):
        velocity = 0.95 * o[:, t, 1] - 0.3 * o[:, t, 0] + 0.3 * a[:, t, 0]
        o[:, t + 1] = np.stack([o[:, t, 0] + velocity, velocity], 1)
    batch_arrays = {"o": o, "a": a, "r": o[:, 1:, 0], "c": np.ones((batch, length))}
    return {name: array.astype(np.float32) for name, array in batch_arrays.items()}


def prepared(config: LearnerConfig = SMALL, discrete: bool = False, terminates: bool = False) -> Learner:
    learner = Learner(config, task(discrete), 0, terminates)
    data = oscillator(np.random.default_rng(9), 64)
    learner.set_scales(measure(list(data["o"]), list(data["r"]), 1))
    return learner


@pytest.mark.parametrize("classes", [0, 5], ids=["gaussian", "categorical"])
@pytest.mark.parametrize("terminates", [False, True])
def test_the_functions_fit_the_interface(classes, terminates):
    model = make(classes, terminates)
    executor = TorchExecutor(model)
    interface = model.interface
    assert interface.state_size == 16 + 4 * max(1, classes)
    for function in interface.functions:
        inputs = [torch.randn(3, size) for size in interface.input_sizes(function).values()]
        outputs = getattr(model, function)(*inputs)
        assert [tuple(out.shape) for out in outputs] == [
            (3, size) for size in interface.output_sizes(function).values()
        ]
        ones = [getattr(model, function)(*(i[row : row + 1] for i in inputs)) for row in range(3)]
        for out, *rows in zip(outputs, *ones, strict=True):
            torch.testing.assert_close(out, torch.cat(rows))
    state = executor.observe(executor.reset(3), np.zeros((3, 2), np.float32), np.ones((3, 2), np.float32))
    following, reward, going_on = executor.imagine(state, np.ones((3, 2), np.float32))
    assert following.shape == state.shape and reward.shape == going_on.shape == (3,)
    assert executor.decode(state).shape == (3, 2)


def test_the_recurrence_is_that_of_pytorch():
    model = make(0, False)
    cell = torch.nn.GRUCell(16, 16)
    for name, layer in (("ih", model.gru_input), ("hh", model.gru_hidden)):
        getattr(cell, f"weight_{name}").data, getattr(cell, f"bias_{name}").data = layer.weight.data, layer.bias.data
    h, z, a = torch.randn(5, 16), torch.randn(5, 4), torch.randn(5, 2)
    embedded = torch.nn.functional.silu(model.embedding(torch.cat([z, a], 1)))
    torch.testing.assert_close(model.imagine(h, z, a)[0], cell(embedded, h))


def test_the_divergence_is_that_of_pytorch():
    p, q = torch.randn(6, 8), torch.randn(6, 8)
    ours = make(0, False)._divergence(p, q)
    normal = [Independent(Normal(s[:, :4], SMALLEST_STD + torch.sigmoid(s[:, 4:])), 1) for s in (p, q)]
    torch.testing.assert_close(ours, kl_divergence(*normal))
    p, q = torch.randn(6, 20), torch.randn(6, 20)
    mixed = [(1 - UNIFORM) * s.view(6, 4, 5).softmax(-1) + UNIFORM / 5 for s in (p, q)]
    categorical = [Independent(Categorical(probs=probabilities), 1) for probabilities in mixed]
    torch.testing.assert_close(make(5, False)._divergence(p, q), kl_divergence(*categorical))


def test_samples_have_the_distribution_they_come_from():
    gaussian = torch.tensor([0.3, -0.2, 0.0, 1.0, 0.5, -3.0, 0.0, 2.0]).expand(20_000, 8)
    samples = make(0, False)._sample(gaussian)
    torch.testing.assert_close(samples.mean(0), gaussian[0, :4], atol=0.04, rtol=0)
    torch.testing.assert_close(samples.std(0), SMALLEST_STD + torch.sigmoid(gaussian[0, 4:]), atol=0.03, rtol=0)
    logits = torch.linspace(-1, 1, 20).expand(20_000, 20)
    samples = make(5, False)._sample(logits)
    assert set(samples.round(decimals=5).unique().tolist()) == {0.0, 1.0}
    expected = (1 - UNIFORM) * logits[0].view(4, 5).softmax(-1) + UNIFORM / 5
    torch.testing.assert_close(samples.mean(0), expected.flatten(), atol=0.02, rtol=0)


def test_a_categorical_latent_is_deployed_by_its_mode_and_learns_through_its_probabilities():
    model = make(5, False)
    model.set_scales(prepared().scales)
    logits = torch.randn(3, 20)
    mode = model._latent(logits).view(3, 4, 5)
    assert torch.equal(mode.argmax(-1), logits.view(3, 4, 5).argmax(-1)) and (mode.sum(-1) == 1).all()
    state = torch.randn(3, 36)
    action = torch.randn(3, 2, requires_grad=True)
    following, reward, _ = model.dream(state, action)
    imagined = model.imagine(*state.split([16, 20], 1), action)
    torch.testing.assert_close(following, torch.cat(imagined[:2], 1), atol=1e-6, rtol=0)
    torch.testing.assert_close(reward, imagined[2][:, 0].clamp(*model.reward_bounds), atol=1e-6, rtol=1e-5)
    (gradient,) = torch.autograd.grad(following[:, 16:].square().sum() + following[:, 16:].sum(), action)
    assert gradient.abs().min() > 0


@pytest.mark.parametrize(("classes", "discrete"), [(0, False), (6, True)], ids=["gaussian-box", "categorical-discrete"])
def test_it_learns(classes, discrete):
    config = SMALL.model_copy(update={"rssm": RssmConfig(latents=4, classes=classes)})
    learner = prepared(config, discrete, terminates=discrete)
    random = np.random.default_rng(0)

    def draw() -> dict[str, np.ndarray]:
        batch = oscillator(random)
        one_hot = np.eye(2, dtype=np.float32)[(batch["a"][..., 0] > 0).astype(int)]
        return batch | {"a": one_hot} if discrete else batch

    metrics = [learner.update(draw()) for _ in range(120)]
    first, last = (
        {name: np.mean([m[name] for m in part]) for name in metrics[0]} for part in (metrics[:10], metrics[-10:])
    )
    assert last["model/observation"] < 0.5 * first["model/observation"]
    assert last["model/reward"] < first["model/reward"]
    assert last["model/kl"] > 0
    assert ("model/continue" in last) == discrete
    assert {"model/dimension_error/0", "model/dimension_error/1"} <= set(last)


def test_what_follows_an_end_is_ignored():
    model = make(0, True)
    model.set_scales(prepared().scales)
    batch = {name: torch.from_numpy(array) for name, array in oscillator(np.random.default_rng(0)).items()}
    batch["c"][:, 3:] = 0
    losses = []
    for garbage in (0.0, 50.0):
        model.generator.manual_seed(0)
        o, r = batch["o"].clone(), batch["r"].clone()
        o[:, 5:] += garbage
        r[:, 4:] += garbage
        losses.append(model.loss(o, batch["a"], r, batch["c"]))
    for name, part in losses[0].parts.items():
        torch.testing.assert_close(part, losses[1].parts[name])
    assert len(losses[0].states) == 16 * 4


def test_a_saved_learner_goes_on_exactly():
    draws = [oscillator(np.random.default_rng(seed)) for seed in range(4)]
    one = prepared()
    for batch in draws[:2]:
        one.update(batch)
    other = Learner(SMALL, task(), 5)
    other.restore(one.state())
    for batch in draws[2:]:
        one.update(batch)
        other.update(batch)
    assert all(torch.equal(tensor, other.state()[name]) for name, tensor in one.state().items())


def test_the_default_size_fits_the_budget():
    config = LearnerConfig(architecture="rssm")
    cartpole = Task(env="x", action_repeat=5, observation_size=5, action_kind="box", action_size=1)
    model = Rssm(cartpole, False, 0.99, config.hidden_size, config.width, config.rssm)
    assert model.interface.parameters == sum(p.numel() for p in model.parameters()) <= 80_000
