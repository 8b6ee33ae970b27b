"""Fine-tuning of weights and thresholds, on a small model with random weights."""

import numpy as np
import pytest
import torch

from nmbrl.convert.calibration import compute_samples
from nmbrl.convert.loihi import convert, lower_model
from nmbrl.convert.loihi.finetuning import ACTION_PRICE, BELIEF_PRICE, FineTuning
from nmbrl.convert.loihi.loops import LIFE, Loops
from nmbrl.convert.loihi.rehearsal import Rehearsal
from nmbrl.convert.loihi.sigma_delta import Gate
from nmbrl.convert.loihi.thresholds import with_thresholds
from nmbrl.targets.bundle import read_bundle
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.load import load
from nmbrl.targets.loihi.executor import LoihiExecutor
from nmbrl.train.deployed import TorchExecutor


def tuning(rehearsal, lowered, threshold, seed=0, budget=0.05):
    thresholds = {
        (function, node.name): np.full(node.size, threshold)
        for function, graph in lowered.graphs.items()
        for node in graph.nodes
    }
    return FineTuning(rehearsal, lowered.graphs, thresholds, budget, seed)


def test_without_thresholds_the_student_is_the_float_model(rehearsal, lowered):
    with torch.no_grad():
        sent, action, belief = tuning(rehearsal, lowered, 0.0).loops.advance(36)
    assert action < 1e-8 and belief < 1e-6
    # A ReLU or a saturated neuron may stay where it is.
    assert 0.8 < sent <= 1


def test_the_student_sends_what_its_networks_send(small_run, rehearsal, lowered):
    """The same observations through the student and through the networks of integers."""
    student = tuning(rehearsal, lowered, 0.03)
    networks = with_thresholds(
        lowered.emit(),
        lowered.scales,
        {
            (function, node.name): np.full(node.size, 0.03)
            for function, graph in lowered.graphs.items()
            for node in graph.nodes
        },
    )
    executor = LoihiExecutor(small_run.model.interface, dict(small_run.model.macs), lowered.functions, networks)
    observe = student.students["observe"]
    sent, count = observe.rest(2), 0.0
    random, state = np.random.default_rng(1), np.zeros((2, 12), np.float32)
    for _ in range(40):
        inputs = {
            "x": np.zeros((2, 3), np.float32),
            "h": state,
            "a": random.uniform(-1, 1, (2, 2)).astype(np.float32),
            "o": random.normal(0, 1, (2, 3)).astype(np.float32),
        }
        with torch.no_grad():
            sent, each = observe.advance(sent, {name: torch.from_numpy(array) for name, array in inputs.items()})
        count += float(each.sum())
        given = executor.call("observe", inputs)["h"]
        np.testing.assert_allclose(sent[observe.graph.outputs["h"]].numpy(), given, atol=0.1)
        state = given
    assert count == pytest.approx(executor.counts["messages"], rel=0.03)
    assert count < 0.95 * executor.counts["possible_messages"]


def test_values_pass_straight_through_and_changes_near_the_threshold_count():
    value = torch.tensor([[0.5, 0.105, 0.01]], requires_grad=True)
    sent = torch.zeros(1, 3, requires_grad=True)
    threshold = torch.full((3,), float(np.log(0.1)), requires_grad=True)
    now, sends = Gate.apply(value, sent, threshold)
    np.testing.assert_allclose(now.detach().numpy(), [[0.5, 0.105, 0]])
    assert sends.tolist() == [[1, 1, 0]]
    slope, none, larger = torch.autograd.grad(now.sum(), (value, sent, threshold), retain_graph=True)
    assert slope.tolist() == [[1, 1, 1]] and none.tolist() == [[0, 0, 0]]
    # Of three neurons one leaves something unsent: what it lacks grows with its threshold.
    np.testing.assert_allclose(larger.numpy(), [0, 0, -0.01], atol=1e-7)
    slope, back, larger = torch.autograd.grad(sends.sum(), (value, sent, threshold))
    assert slope[0, 1] > 10 * slope[0, 0] > 0 and slope[0, 1] > 10 * slope[0, 2] > 0
    np.testing.assert_array_equal(back.numpy(), -slope.numpy())
    # A change and its threshold that both grow by one factor leave it as likely to be sent.
    np.testing.assert_allclose(larger.numpy(), -(slope * (value - sent)).detach().numpy()[0], rtol=1e-5)


def test_less_is_sent_and_the_loss_falls(rehearsal, lowered):
    student = tuning(rehearsal, lowered, 0.005)

    def judge():
        loops = Loops(rehearsal, student.students, 96, np.random.default_rng(9))
        with torch.no_grad():
            sent, action, belief = (float(part) for part in loops.advance(36))
        return sent, sent + ACTION_PRICE / student.budget**2 * action + BELIEF_PRICE * belief

    (sent, loss), _, (fewer, less) = judge(), student.run(30), judge()
    assert fewer < sent and less < 0.8 * loss


def test_loops_go_on_from_update_to_update(rehearsal, lowered, monkeypatch):
    """Where none ends, two times six decisions are twelve; messages count from the second decision of a loop."""
    monkeypatch.setattr("nmbrl.convert.loihi.loops.LIFE", 1e9)
    students = tuning(rehearsal, lowered, 0.03).students
    halves, whole = (Loops(rehearsal, students, 10, np.random.default_rng(4)) for _ in range(2))
    first, second, both = halves.advance(6), halves.advance(6), whole.advance(12)
    # Six decisions of which five count, then six.
    assert (5 * first[0] + 6 * second[0]).item() == pytest.approx(11 * both[0].item(), rel=1e-5)
    for one, two, all_of_it in zip(first[1:], second[1:], both[1:], strict=True):
        assert (one + two).item() / 2 == pytest.approx(all_of_it.item(), rel=1e-4)
    np.testing.assert_allclose(halves._plant, whole._plant, atol=1e-5)
    second[0].backward()  # which ends where the second half begins: the first is still to be gone through
    first[0].backward()


def test_loops_end_and_begin_anew(rehearsal, lowered):
    students = tuning(rehearsal, lowered, 0.03).students
    loops = Loops(rehearsal, students, 200, np.random.default_rng(4))
    with torch.no_grad():
        loops.advance(LIFE // 4)
        assert 25 < loops._fresh.sum() < 75
        np.testing.assert_array_equal(loops._belief[loops._fresh], loops._known[loops._fresh])
        for function, student in students.items():
            for node, rest in student.rest(1).items():
                sent = loops._sent[function][node][torch.from_numpy(loops._fresh)]
                np.testing.assert_allclose(sent.numpy(), rest.expand_as(sent).numpy(), rtol=1e-6)
        loops.advance(LIFE)
        assert loops._fresh.all()


def test_a_seed_decides_everything_and_structure_stays(rehearsal, lowered):
    made = []
    for seed in (0, 0, 1):
        student = tuning(rehearsal, lowered, 0.02, seed)
        student.run(3)
        made.append((student.graphs(), student.thresholds()))
    (first, thresholds), (again, same), (other, _) = made
    changed = 0
    for function, graph in first.items():
        for node, before, twin, different in zip(
            graph.nodes, lowered.graphs[function].nodes, again[function].nodes, other[function].nodes, strict=True
        ):
            np.testing.assert_array_equal(thresholds[function, node.name], same[function, node.name])
            for operand, plain, equal, unlike in zip(
                node.operands, before.operands, twin.operands, different.operands, strict=True
            ):
                for source, matrix in operand.terms.items():
                    np.testing.assert_array_equal(matrix, equal.terms[source])
                    np.testing.assert_array_equal(matrix == 0, plain.terms[source] == 0)
                    if np.isin(plain.terms[source], (-1, 0, 1)).all():
                        np.testing.assert_array_equal(matrix, plain.terms[source])
                    else:
                        changed += not np.array_equal(matrix, plain.terms[source])
                        assert not np.array_equal(matrix, unlike.terms[source])
    assert changed >= 4


def test_starts_are_recorded_or_new(small_run, rehearsal):
    teacher = TorchExecutor(small_run.model)
    belief, plant, action = rehearsal.draw(np.random.default_rng(0), 40)
    assert belief.shape == plant.shape == (40, 15) and action.shape == (40, 2)
    assert not belief[20:].any() and not action[20:].any()
    # The plant's state is what the float model believes where the belief meets its observation.
    after = teacher.observe(belief[:20], action[:20], teacher.decode(plant[:20]))
    np.testing.assert_allclose(after, plant[:20], atol=1e-5)
    first = teacher.observe(teacher.reset(2), action[20:22], small_run.calibration["o"][:, 0])
    native = [np.isclose(plant[20:], start, atol=1e-6).all(1) for start in first]
    assert 0 < np.sum(native) < 20


def test_a_bundle_is_of_the_tuned_networks(discrete_run, tmp_path):
    bundle = convert(discrete_run, tmp_path / "a", error_budget=0.05, finetune=4, seed=3)
    assert bundle.provenance.options["finetune"] == 4 and bundle.provenance.options["seed"] == 3
    assert read_bundle(tmp_path / "a").functions == bundle.functions
    samples = compute_samples(discrete_run.model, discrete_run.calibration).inputs
    tuned, plain = load(tmp_path / "a"), lower_model(discrete_run.model, samples).emit()
    same = {
        function: all(
            np.array_equal(one.weights, two.weights)
            for one, two in zip(tuned.networks[function].synapses, plain[function].synapses, strict=True)
        )
        for function in plain
    }
    assert same == {"observe": False, "imagine": True, "act": False, "value": True}
    sent = Rehearsal(discrete_run.model, discrete_run.calibration).sent(tuned)
    assert 1 - sent == bundle.measured["thresholds"]["not_sent"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"finetune": -1}, "--finetune is -1"),
        ({"finetune": 2}, "--finetune needs an --error-budget"),
        ({"finetune": 2, "error_budget": 0.0}, "--finetune needs an --error-budget"),
        ({"finetune": 2, "sparsity": 0.5}, "--finetune needs an --error-budget"),
        ({"error_budget": 0.1, "seed": 3}, "--seed is the seed of --finetune"),
    ],
)
def test_options_out_of_range(discrete_run, tmp_path, options, message):
    with pytest.raises(NmbrlError, match=message):
        convert(discrete_run, tmp_path / "b", **options)


def test_what_diverges_is_one_line(rehearsal, lowered, monkeypatch):
    monkeypatch.setattr("nmbrl.convert.loihi.finetuning.ACTION_PRICE", float("nan"))
    with pytest.raises(NmbrlError, match="diverged in update 0"):
        tuning(rehearsal, lowered, 0.02).run(2)
