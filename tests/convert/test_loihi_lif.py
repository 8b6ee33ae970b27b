"""The spiking student: what is trained is what is deployed; trainings resume; what does not fit is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from nmbrl.convert.calibration import compute_samples
from nmbrl.convert.command import main
from nmbrl.convert.loihi import lif
from nmbrl.convert.loihi.lif.growth import EXACT, check_growth, measure_growth
from nmbrl.convert.loihi.lif.networks import lower
from nmbrl.convert.loihi.lif.training import _action_loss
from nmbrl.runtime.planners import make_planner
from nmbrl.targets import load
from nmbrl.targets.bundle import read_bundle
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.loihi.chips import LOIHI_1, LOIHI_2
from nmbrl.targets.loihi.placement import place
from nmbrl.targets.loihi.simulator import Simulator
from nmbrl.targets.loihi.spiking_executor import SpikingExecutor
from nmbrl.train.deployed import TorchExecutor
from nmbrl.train.run import open_run

from .lif_runs import SCHEDULE, SIZES, finish, make_box_run, make_trainer


@pytest.fixture(scope="module")
def box_run(tmp_path_factory):
    return make_box_run(tmp_path_factory.mktemp("lif") / "pendulum")


@pytest.fixture(scope="module", params=["box", "discrete"])
def trainer(request, box_run, run_path):
    return finish(make_trainer(box_run if request.param == "box" else open_run(run_path)))


def deploy(student, simulator="fast", chip=LOIHI_2):
    functions, networks, host = lower(student)
    placement = place(networks, chip)
    return SpikingExecutor(student.interface, dict(student.macs), functions, networks, simulator, placement, host=host)


@pytest.mark.parametrize("simulator", ["fast", "numpy", "strict"])
def test_what_is_trained_is_what_is_deployed(trainer, simulator):
    student = trainer.student
    reference, executor = TorchExecutor(student), deploy(student, simulator)
    random, task = np.random.default_rng(0), student.interface.task
    expected = reference.reset(5)
    actual, action = executor.reset(5), np.zeros((5, task.action_size), np.float32)
    for _ in range(12):
        observation = random.normal(0, 2, (5, task.observation_size)).astype(np.float32)
        expected, actual = (e.observe(s, action, observation) for e, s in ((reference, expected), (executor, actual)))
        np.testing.assert_array_equal(actual, expected)
        for function in ("act", "value"):
            np.testing.assert_array_equal(getattr(executor, function)(actual), getattr(reference, function)(expected))
        action = reference.project_action(random.normal(0, 1, (5, task.action_size)).astype(np.float32))
        ahead = expected
        for _ in range(3):
            ours, theirs = executor.imagine(ahead, action), reference.imagine(ahead, action)
            for mine, other in zip(ours, theirs, strict=True):
                np.testing.assert_array_equal(mine, other)
            ahead = theirs[0]
    assert executor.counts["messages"] > 0 and executor.counts["messages"] < executor.counts["possible_messages"]


@pytest.mark.slow
def test_lava_sends_the_same_spikes_and_ends_in_the_same_potentials(box_run):
    student = make_trainer(box_run).student
    lava, fast = deploy(student, "lava"), deploy(student)
    try:
        state, expected = lava.reset(2), fast.reset(2)
        for t in range(20):
            observation = np.random.default_rng(t).normal(0, 1, (2, 3)).astype(np.float32)
            state = lava.observe(state, lava.act(state), observation)
            expected = fast.observe(expected, fast.act(expected), observation)
            np.testing.assert_array_equal(state, expected)
        assert lava.counts == fast.counts and lava.counts["messages"] > 0
    finally:
        lava.close()


def test_a_result_depends_on_nothing_but_what_is_given(trainer):
    executor, fresh = deploy(trainer.student), deploy(trainer.student)
    random, sizes = np.random.default_rng(1), trainer.student.interface.input_sizes("imagine")
    inputs = {name: random.normal(0, 1, (6, size)).astype(np.float32) for name, size in sizes.items()}
    for name in ("world_u", "world_v"):
        inputs[name] = random.integers(-9000, 9000, inputs[name].shape).astype(np.float32)
    once = executor.call("imagine", inputs)
    again = executor.call("imagine", {name: array[::-1] for name, array in inputs.items()})
    alone = fresh.call("imagine", {name: array[2:3] for name, array in inputs.items()})
    for name, array in once.items():
        np.testing.assert_array_equal(again[name][::-1], array)
        np.testing.assert_array_equal(alone[name], array[2:3])


def test_an_ended_training_goes_on_to_the_same_student(box_run):
    whole = make_trainer(box_run)
    saved, doing = {}, ""
    for after in whole.train():
        # Where it did something else than an update is where most could be done twice, or not at all.
        if whole.corpus is not None and (after != doing or whole.done == 7):
            saved[after, doing, whole.done] = whole.save()
        doing = after
    assert sum("round" in before for _, before, _ in saved) == 2
    for content in saved.values():
        second = make_trainer(box_run)
        assert second.load(content, "checkpoint")
        assert finish(second).save() == whole.save()
    assert finish(make_trainer(box_run, seed=1)).save() != whole.save()


def test_training_lowers_its_losses(box_run):
    trainer = lif.Trainer(box_run, SIZES, replace(SCHEDULE, world_updates=80, policy_updates=80, batch=16), 0)
    steps = trainer.train()
    first = {}
    for _ in steps:
        for name, value in trainer.metrics.items():
            first.setdefault(name, value)
    for name in ("observation", "value"):
        assert trainer.metrics[name] < 0.7 * first[name], name


def test_an_action_beyond_its_bounds_is_no_error_but_an_error_that_lasts_is():
    wanted = torch.ones(1, 4, 1)
    assert _action_loss(1.5 * wanted, wanted) == 0
    off = 0.2 * torch.tensor([1.0, -1, 1, -1])[None, :, None]
    assert _action_loss(off, 0 * wanted) < _action_loss(off.abs(), 0 * wanted)


def test_growth_is_what_the_simulator_reaches(trainer):
    student = trainer.student
    executor = deploy(student)
    samples = compute_samples(student, trainer.run.calibration)
    growth = measure_growth(executor, samples)
    simulator = Simulator(executor.networks["value"], len(samples.inputs["value"]["x"]))
    values, largest = executor.give("value", samples.inputs["value"]), 0
    for _ in range(SIZES.steps):
        simulator.step(values)
        values = {}
        largest = max(largest, np.abs(simulator.read("critic/v")).max())
    assert growth["value"]["critic"]["v"] == largest > 0
    check_growth(growth, executor.host.readouts)
    growth["imagine"]["world"]["u"] = EXACT
    with pytest.raises(NmbrlError, match=r"u of population world of imagine reaches 2,396,745 .* 1,198,372"):
        check_growth(growth, executor.host.readouts)


@pytest.mark.parametrize("bits", [1, 4, 9])
def test_every_width_of_weights_is_deployed_exactly_and_fits_loihi_1(box_run, bits):
    student = make_trainer(box_run, sizes=replace(SIZES, weight_bits=bits)).student
    executor = deploy(student, chip=LOIHI_1)
    samples = compute_samples(student, box_run.calibration)
    for function, inputs in samples.inputs.items():
        expected = TorchExecutor(student).call(function, inputs)
        for name, array in executor.call(function, inputs).items():
            np.testing.assert_array_equal(array, expected[name])
    assert executor.placement.count() == dict.fromkeys(executor.networks, 1)


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def bundle(box_run, tmp_path_factory):
    path = tmp_path_factory.mktemp("lif") / "bundle"
    result = run(
        box_run.path, "--target", "loihi", "--method", "lif", "--updates", 12, "--time-steps", 3, "--out", path
    )
    assert result.exit_code == 0, result.output
    assert "train: update 0 of 12" in result.output and "left" in result.output
    assert not path.with_name("bundle.training").exists()
    return path


def test_a_bundle_runs_behind_the_interface(bundle):
    manifest = read_bundle(bundle)
    assert all(entry["worst"] == 0 for errors in manifest.measured["errors"].values() for entry in errors.values())
    assert manifest.provenance.options["time_steps"] == 3 and manifest.measured["growth"]["act"]["policy"]["v"] > 0
    assert set(manifest.measured["imagination"]) == {"float", "lif"}
    executor = load(bundle)
    planner = make_planner("cem", executor, samples=8, horizon=2, iterations=1, elites=2, policy_samples=2)
    planner.reset([0])
    model = planner.executor
    state = model.observe(model.reset(1), np.zeros((1, 1), np.float32), np.zeros((1, 3), np.float32))
    assert planner.decide(state).shape == (1, 1)
    assert executor.counts["synaptic_operations"] > 0


def test_a_damaged_host_part_is_refused(bundle, tmp_path):
    from nmbrl.targets.loihi.host import encode_host, read_host

    host = load(bundle).host
    for name, content in encode_host(host).items():
        (tmp_path / name).write_bytes(content)
    assert encode_host(read_host(tmp_path / "host.json")) == encode_host(host)
    content = json.loads((tmp_path / "host.json").read_text())
    del content["encoders"]["world"]["shift"]
    (tmp_path / "host.json").write_text(json.dumps(content))
    with pytest.raises(NmbrlError, match="convert again"):
        read_host(tmp_path / "host.json")


def refused(*arguments):
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), result.output
    return lines[0]


def test_what_is_wrong_is_one_line(box_run, tmp_path):
    base = (box_run.path, "--target", "loihi", "--out", tmp_path / "b", "--method")
    assert "--weight-bits is 10; with --method lif it must be in 1 to 9" in refused(*base, "lif", "--weight-bits", 10)
    assert "--time-steps is 1" in refused(*base, "lif", "--time-steps", 1)
    assert "--updates is 1" in refused(*base, "lif", "--updates", 1)
    assert "--threshold is no option of method lif" in refused(*base, "lif", "--threshold", 1)
    assert "--message-bits is no option of method lif" in refused(*base, "lif", "--message-bits", 8)
    assert "--time-steps is no option of method sigma-delta" in refused(*base, "sigma-delta", "--time-steps", 4)
    assert "unknown method 'rate' for Loihi; choose from sigma-delta, lif" in refused(*base, "rate")
    assert "bits of a weight from world: 9, at most 8" in refused(*base, "lif", "--weight-bits", 9)
    assert "unknown chip" in refused(*base, "lif", "--chip", "loihi9")


def test_a_checkpoint_of_something_else_or_damaged_is_refused(box_run, tmp_path):
    checkpoint = tmp_path / "b.training" / "checkpoint.safetensors"
    checkpoint.parent.mkdir()
    trainer = make_trainer(box_run)
    next(steps := trainer.train())
    next(steps)
    checkpoint.write_bytes(trainer.save())
    command = (box_run.path, "--target", "loihi", "--method", "lif", "--out", tmp_path / "b", "--resume")
    assert "of other options or seed; leave out --resume" in refused(*command)
    checkpoint.write_bytes(checkpoint.read_bytes()[:-10])
    assert "is damaged" in refused(*command)
