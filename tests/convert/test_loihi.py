import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from nmbrl.convert.calibration import compute_samples
from nmbrl.convert.loihi import build, convert
from nmbrl.convert.loihi.emission import Emission
from nmbrl.convert.loihi.growth import check_growth, measure_growth
from nmbrl.convert.loihi.lowering import lower
from nmbrl.convert.loihi.scales import choose_scales, measure_ranges
from nmbrl.runtime.adaptation import AdaptedExecutor
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.load import load
from nmbrl.targets.loihi.executor import LoihiExecutor, quantise
from nmbrl.targets.loihi.limits import SYNAPTIC_BITS
from nmbrl.targets.loihi.simulator import Simulator
from nmbrl.train.deployed import TorchExecutor


def evaluate(module, *inputs):
    """The lowered graph's outputs in float64, and PyTorch's."""
    names = {f"i{index}": tensor.shape[1] for index, tensor in enumerate(inputs)}
    expected = module(*inputs)
    graph = lower(module, names, tuple(f"o{index}" for index in range(len(expected))))
    values = {graph.inputs[f"i{i}"]: t.numpy() for i, t in enumerate(inputs) if f"i{i}" in graph.inputs}
    for node in graph.nodes:
        if node.kind != "input":
            values[node.name] = node.evaluate(values)
    return graph, [values[name] for name in graph.outputs.values()], [tensor.detach().numpy() for tensor in expected]


class Everything(nn.Module):
    """Every operation that is lowered."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.first, self.second = nn.Linear(5, 8), nn.Linear(8, 6, bias=False)
        self.register_buffer("scale", torch.linspace(0.5, 2.0, 6))

    def forward(self, x, y, unused):
        both = torch.cat([x, y], -1)
        left, right = self.first(both).chunk(2, -1)
        gate = torch.sigmoid(left) * (1 - torch.tanh(right))
        hidden = self.second(torch.cat([gate, nn.functional.silu(left[:, 1:3]), nn.functional.elu(y)], 1)) * self.scale
        a, b = torch.split(hidden, [2, 4], dim=1)
        return torch.relu(a) - 0.5 * a, nn.functional.gelu(b) / 3 + 2, -hidden, both * both


def test_lowering_equals_pytorch():
    torch.manual_seed(0)
    inputs = [torch.randn(7, size, dtype=torch.float64) for size in (3, 2, 4)]
    graph, actual, expected = evaluate(Everything().double(), *inputs)
    for ours, theirs in zip(actual, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)
    assert "i2" not in graph.inputs


def test_what_is_computed_twice_is_one_population():
    class Twice(nn.Module):
        def forward(self, x):
            return torch.tanh(x) + 1, torch.tanh(x) - x, torch.tanh(x)

    graph, _, _ = evaluate(Twice(), torch.randn(2, 3))
    assert [node.kind for node in graph.nodes].count("table") == 1


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (lambda x: (torch.cumsum(x, 1),), "cumsum"),
        (lambda x: (x / (x + 5),), "division"),
        (lambda x: (torch.cat([x, x], 0),), "across the batch"),
    ],
)
def test_an_operation_without_counterpart_is_named(function, named):
    class Module(nn.Module):
        def forward(self, x):
            return function(x)

    with pytest.raises(NmbrlError, match=named):
        lower(Module(), {"x": 3}, ("y",))


@pytest.fixture(scope="module")
def parts(small_run):
    samples = compute_samples(small_run.model, small_run.calibration)
    return small_run.model, samples, *build(small_run.model, samples.inputs)


def executor(parts, simulator="fast"):
    model, _, functions, networks = parts
    return LoihiExecutor(model.interface, dict(model.macs), functions, networks, simulator)


def test_fixed_point_stays_close_to_pytorch_and_inside_every_width(parts):
    model, samples, _, _ = parts
    strict, reference = executor(parts, "strict"), TorchExecutor(model)
    for function, inputs in samples.inputs.items():
        actual, expected = strict.call(function, inputs), reference.call(function, inputs)
        for name in expected:
            error = np.abs(actual[name] - expected[name])
            assert error.mean() < 0.004 * max(1.0, np.abs(expected[name]).max()), (function, name)
            assert error.max() < 0.03 * max(1.0, np.abs(expected[name]).max()), (function, name)


def test_finer_weights_and_messages_come_closer(parts):
    model, samples, _, _ = parts
    expected = TorchExecutor(model).call("observe", samples.inputs["observe"])["h"]
    errors = []
    for bits in (3, 5, 8):
        coarse = executor((model, samples, *build(model, samples.inputs, weight_bits=bits)))
        errors.append(np.abs(coarse.call("observe", samples.inputs["observe"])["h"] - expected).mean())
    assert errors[0] > 2 * errors[1] > 4 * errors[2]


def test_a_state_has_one_scale_wherever_it_goes(parts):
    model, _, functions, _ = parts
    for segment in model.interface.state:
        scales = {t.scale for f in functions.values() for t in (*f.inputs, *f.outputs) if t.name == segment.name}
        assert len(scales) == 1
        assert np.log2(scales.pop()).is_integer()


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_results_do_not_depend_on_what_a_lane_has_seen(parts, seed):
    samples = parts[1]
    random = np.random.default_rng(seed)
    used = executor(parts)
    inputs = samples.inputs["imagine"]
    for batch in random.integers(1, 9, 4):
        rows = random.integers(len(inputs["h"]), size=batch)
        chosen = {name: array[rows] for name, array in inputs.items()}
        fresh = executor(parts).call("imagine", chosen)
        for name, array in used.call("imagine", chosen).items():
            np.testing.assert_array_equal(array, fresh[name])


def test_a_state_that_comes_back_is_the_same_integers(parts):
    model, functions = parts[0], parts[2]
    loihi = executor(parts)
    state = loihi.reset(4)
    for time in range(5):
        state = loihi.observe(state, np.zeros((4, 2), np.float32), np.full((4, 3), 0.1 * time, np.float32))
    tensor = next(tensor for tensor in functions["act"].inputs if tensor.name == "h")
    hidden = model.interface.split(state)["h"]
    np.testing.assert_array_equal(quantise(hidden, tensor, 1 << 15) * np.float64(tensor.scale), hidden)


def test_counts_are_those_of_the_populations(parts):
    _, samples, _, networks = parts
    loihi = executor(parts)
    inputs = {name: array[:5] for name, array in samples.inputs["imagine"].items()}
    loihi._evaluate("imagine", inputs)
    counts, network = dict(loihi.counts), networks["imagine"]
    neurons = sum(population.size for population in network.populations)
    assert counts["imagine"] == 5 and counts["steps"] == 5 * network.steps
    assert counts["possible_messages"] == 5 * neurons
    assert counts["neuron_updates"] == 5 * neurons * network.steps
    for quantity in ("messages", "synaptic_operations"):
        names = [f"{quantity}/imagine/{population.name}" for population in network.populations]
        assert counts[quantity] == sum(counts[name] for name in names) > 0
    synapses = sum(np.count_nonzero(part.weights) for part in network.synapses)
    assert 0.5 * 5 * synapses < counts["synaptic_operations"] <= 5 * synapses
    loihi._evaluate("imagine", inputs)
    # Nothing changed, so nothing was sent.
    assert loihi.counts["messages"] == counts["messages"] and loihi.counts["imagine"] == 10


def test_counts_are_the_same_whenever_they_are_looked_at(parts):
    inputs = {name: array[:5] for name, array in parts[1].inputs["imagine"].items()}
    often, once = executor(parts), executor(parts)
    seen = []
    often.on_step = lambda function, messages: seen.append(often.counts["steps"])
    for loihi in (often, once):
        loihi._evaluate("imagine", inputs)
    steps = parts[3]["imagine"].steps
    assert seen == [5 * (step + 1) for step in range(steps)]
    assert often.counts == once.counts
    np.testing.assert_array_equal(often.messages["imagine"], once.messages["imagine"])


def test_thresholds_save_messages_and_keep_the_error_small(parts):
    model, samples, _, _ = parts
    start = np.array([0.5, -1.0, 0.0])
    walk = start + np.cumsum(np.random.default_rng(0).normal(0, 0.01, (60, 1, 3)), axis=0)
    messages, states = [], []
    for threshold in (0.0, 8.0, 32.0):
        loihi = executor((model, samples, *build(model, samples.inputs, threshold=threshold)))
        state = loihi.reset(1)
        for observation in walk:
            state = loihi.observe(state, np.zeros((1, 2), np.float32), observation.astype(np.float32))
        messages.append(loihi.counts["messages"])
        states.append(state)
    assert messages[2] < 0.6 * messages[0] and messages[1] < 0.9 * messages[0]
    assert np.abs(states[1] - states[0]).max() < 0.05


@pytest.mark.parametrize("adapted", [False, True])
def test_lanes_that_end_take_what_their_networks_hold_with_them(parts, adapted):
    """Lanes of different lengths together send what each sends alone, and end in the same states."""
    model, samples, _, _ = parts
    functions, networks = build(model, samples.inputs)
    networks = {**networks, "observe": build(model, samples.inputs, threshold=64.0)[1]["observe"]}
    lengths, walks = np.array([4, 9, 6, 9]), np.random.default_rng(0).normal(0, 1, (9, 4, 3)).astype(np.float32)

    def run(lanes):
        loihi = executor((model, samples, functions, networks))
        runner = AdaptedExecutor(loihi) if adapted else loihi
        state, ends = runner.reset(len(lanes)), {}
        for time, observations in enumerate(walks):
            state = runner.observe(state, np.zeros((len(lanes), 2), np.float32), observations[lanes])
            # Two samples a lane.
            runner.imagine(np.repeat(state, 2, axis=0), np.tile(np.eye(2, dtype=np.float32), (len(lanes), 1)))
            ends |= dict(zip(lanes, state, strict=True))
            running = lengths[lanes] > time + 1
            if not running.any():
                break
            lanes, state = lanes[running], state[running]
            runner.keep(running)
        return ends, {name: loihi.counts[f"messages/observe/{name}"] for name in networks["observe"].by_name}

    ends, counts = run(np.arange(4))
    alone = [run(np.array([lane])) for lane in range(4)]
    for lane, (own, _) in enumerate(alone):
        np.testing.assert_array_equal(ends[lane], own[lane])
    for name, count in counts.items():
        assert count == sum(each[name] for _, each in alone), name


@pytest.mark.parametrize("threshold", [0.0, 64.0])
def test_nothing_drifts_over_10000_decisions(parts, threshold):
    """State is fed back all along; the same from a state that was just taken in is what it should be."""
    model, samples, _, _ = parts
    networks = build(model, samples.inputs, threshold=threshold)
    used, fresh = (executor((model, samples, *networks)) for _ in range(2))
    random = np.random.default_rng(0)
    observation, state = np.array([[0.5, -1.0, 0.0]], np.float32), used.reset(1)
    errors = []
    for decision in range(10_000):
        observation = observation + random.normal(0, 0.01, (1, 3)).astype(np.float32) - 0.02 * observation
        before, state = state, used.observe(state, np.zeros((1, 2), np.float32), observation)
        if decision % 50 == 0:
            fresh.forget()
            expected = fresh.observe(before, np.zeros((1, 2), np.float32), observation)
            errors.append(float(np.abs(state - expected).mean()))
    early, late = np.mean(errors[:20]), np.mean(errors[-20:])
    assert late <= 2 * early if threshold else max(errors) == 0


def test_inputs_beyond_the_calibrated_range_saturate(parts):
    _, samples, functions, networks = parts
    tensor = functions["observe"].inputs[0]
    limit = networks["observe"].by_name[networks["observe"].inputs[tensor.name]].limit
    largest = np.abs(samples.inputs["observe"][tensor.name]).max()
    assert 1.9 * largest < limit * tensor.scale < 2.1 * largest
    inputs = {name: array[:1] for name, array in samples.inputs["observe"].items()}
    far, farther = ({**inputs, tensor.name: np.full_like(inputs[tensor.name], value)} for value in (1e4, 1e9))
    loihi = executor(parts)
    np.testing.assert_array_equal(loihi.call("observe", far)["h"], loihi.call("observe", farther)["h"])


def test_weights_of_zero_cost_no_precision():
    class Silent(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 2)
            self.second.weight.data.zero_()

        def forward(self, x):
            hidden = torch.tanh(self.first(x))
            return hidden, self.second(hidden)

    graph = lower(Silent(), {"x": 3}, ("h", "y"))
    values = {"x": np.random.default_rng(0).normal(size=(50, 3))}
    ranges = measure_ranges({"f": graph}, {"f": values})
    scales = choose_scales({"f": graph}, ranges, [], 16, 8)
    network = Emission("f", graph, scales, ranges, 16, 8, 0.0).network()
    assert {part.target for part in network.synapses} == {graph.outputs["h"]}
    assert scales.messages["f", graph.outputs["h"]] >= 12


def test_sums_stay_exact_where_messages_must_give_up_bits():
    class Sums(nn.Module):
        def forward(self, x, y):
            return x + 64 * y, x - y

    graph = lower(Sums(), {"x": 1, "y": 1}, ("s", "d"))
    values = {"x": np.array([[1e5], [-3.0]]), "y": np.array([[-1.0], [2e3]])}
    ranges = measure_ranges({"f": graph}, {"f": values})
    scales = choose_scales({"f": graph}, ranges, [], 24, 8)
    for part in Emission("f", graph, scales, ranges, 24, 8, 0.0).network().synapses:
        node = next(node for node in graph.nodes if node.name == part.target)
        held = part.weights * 2.0 ** -scales.weights["f", part.target, part.port, part.source]
        np.testing.assert_array_equal(held, node.operands[part.port].terms[part.source])


def test_the_bundle_runs_and_equal_runs_give_equal_bytes(small_run, tmp_path):
    first = convert(small_run, tmp_path / "one")
    convert(small_run, tmp_path / "two")
    for name in (*first.files, "bundle.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    loihi, reference = load(tmp_path / "one", simulator="strict"), TorchExecutor(small_run.model)
    state, expected = loihi.reset(2), reference.reset(2)
    for time in range(10):
        observation = np.array([[0.5, -1.0, 0.0], [0.6, -0.8, 0.01 * time]], np.float32)
        action = np.zeros((2, small_run.model.interface.task.action_size), np.float32)
        state, expected = loihi.observe(state, action, observation), reference.observe(expected, action, observation)
    np.testing.assert_allclose(state, expected, atol=0.05)
    np.testing.assert_allclose(loihi.act(state), reference.act(expected), atol=0.05)


def test_numbers_have_room_to_grow_to_twice_what_calibration_saw(small_run, tmp_path):
    for options in ({}, {"message_bits": 24}, {"message_bits": 8, "weight_bits": 3}, {"threshold": 5.0}):
        bundle = convert(small_run, tmp_path / "bundle", **options)
        executor = load(tmp_path / "bundle")
        samples = compute_samples(small_run.model, small_run.calibration, small_run.seed)
        for function, inputs in samples.inputs.items():
            network, growth = executor.networks[function], bundle.measured["growth"][function]
            simulator = Simulator(network, len(next(iter(inputs.values()))))
            largest = dict.fromkeys(growth, 0)
            for step in range(network.steps):
                for name, messages in simulator.step(executor.give(function, inputs) if step == 0 else None).items():
                    largest[name] = max(largest[name], int(np.abs(messages).max()))
            assert largest == {name: numbers["message"] for name, numbers in growth.items()}
            for name, numbers in growth.items():
                assert set(numbers) == set(network.by_name[name].widths)
                for number, bits in network.by_name[name].widths.items():
                    assert numbers[number] <= 1.01 * 2 ** (bits - 2) + 2, (options, function, name, number)
                # What is sent was accumulated, and fits a decision's sum.
                if "accumulator 0" in numbers:
                    assert numbers["accumulator 0"] > 0


def test_what_rests_far_from_its_values_has_room_as_well():
    """A gate that is 1/2 at rest and 0 in all samples changes by more than it ever is."""

    class Gate(nn.Module):
        def __init__(self):
            super().__init__()
            self.out = nn.Linear(8, 2, bias=False)
            nn.init.ones_(self.out.weight)

        def forward(self, x):
            return (torch.relu(self.out(torch.sigmoid(x))),)

    graph = lower(Gate(), {"x": 8}, ("y",))
    values = {"x": np.random.default_rng(0).uniform(-9, -7, (50, 8))}
    ranges = measure_ranges({"f": graph}, {"f": values})
    for bits in (8, 16, 24):
        scales = choose_scales({"f": graph}, ranges, [], bits, 8)
        network = Emission("f", graph, scales, ranges, bits, 8, 0.0).network()
        simulator = Simulator(network, 50, strict=True)
        largest = []
        simulator.watch = lambda name, number, values, largest=largest: (
            largest.append(np.abs(values).max()) if "synaptic input" in number else None
        )
        simulator.run({"in.x": np.rint(values["x"] * 2.0 ** scales.messages["f", graph.inputs["x"]]).astype(np.int32)})
        assert 0 < max(largest) <= 1.01 * 2 ** (SYNAPTIC_BITS - 2)


def test_a_number_without_room_is_named(parts):
    _, samples, _, networks = parts
    growth = measure_growth(executor(parts), samples.inputs)
    check_growth(growth, networks)
    name = next(name for name, numbers in growth["observe"].items() if "accumulator 0" in numbers)
    growth["observe"][name]["accumulator 0"] = 1 << 23
    message = f"accumulator 0 of population {name} of observe reaches 8,388,608 in calibration; .* it may reach 4,236,"
    with pytest.raises(NmbrlError, match=message):
        check_growth(growth, networks)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "rate"}, "unknown method 'rate'"),
        ({"threshold": -1.0}, "--threshold is -1.0"),
        ({"message_bits": 40}, "--message-bits is 40"),
        ({"weight_bits": 9}, "--weight-bits is 9; with sigma-delta it must be in 2 to 8"),
    ],
)
def test_options_out_of_range_are_one_line(small_run, tmp_path, options, message):
    with pytest.raises(NmbrlError, match=message):
        convert(small_run, tmp_path / "bundle", **options)
    assert not (tmp_path / "bundle").exists()


def test_an_unknown_simulator_is_one_line(small_run, tmp_path):
    convert(small_run, tmp_path / "bundle")
    with pytest.raises(NmbrlError, match="unknown simulator 'slow'"):
        load(tmp_path / "bundle", simulator="slow")
