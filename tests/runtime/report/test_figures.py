"""Figures: valid for Plotly whatever a row has, and what they say of costs is what was counted."""

import plotly.graph_objects as go
import pytest

from nmbrl.convert import loihi
from nmbrl.runtime.evaluation import evaluate
from nmbrl.runtime.report.cost import break_down
from nmbrl.runtime.report.document import Cost, Part, Slot, Wire
from nmbrl.runtime.report.figures import make_figures
from nmbrl.runtime.report.gather import Settings, gather
from nmbrl.runtime.report.record import make_record
from nmbrl.runtime.report.subject import Subject
from nmbrl.targets.bundle import read_bundle
from nmbrl.targets.load import load

from ...hil.plant import plant_for


def parts(*names, **counts):
    return tuple(Part(function="act", name=name, counts=counts) for name in names)


EVERYTHING = Cost(
    layers=parts("policy.0", "policy.1", macs=64),
    populations=parts("in.x", "silu", messages=3.5, synaptic_operations=70, neuron_updates=9),
    cores=parts("0", "1", synaptic_operations=140, messages=7),
    memory={
        "flash, weights": 9000,
        "flash, code (Cortex-M4)": 7000,
        "flash, code (Cortex-M7)": 6500,
        "RAM, scratch": 100,
        "RAM, scratch and work areas of kernels (Cortex-M4)": 400,
        "RAM, scratch and work areas of kernels (Cortex-M7)": 300,
    },
    slots=(Slot(function="act", name="t1", first_byte=0, last_byte=7, first_step=0, last_step=2),),
    functions=parts("act", macs=64, single=900, batch=300),
    code={"nmbrl_dense": 900, "main": 100},
    wire=Wire(mode="real time", deadline_ms=20, decisions=80, counts={"safe actions": 2, "injected: restarts": 1}),
)


@pytest.fixture
def report(bundle):
    paths = [bundle("float", "onnx"), bundle("half", "tflite", skill=0.5)]
    report = gather([str(path) for path in paths], Settings(episodes=2)).report
    rows = (report.rows[0], report.rows[1].model_copy(update={"cost": EVERYTHING}))
    return report.model_copy(update={"rows": rows})


def test_plotly_knows_everything_that_it_is_given(report):
    sections = make_figures(report)
    figures = [figure for section in sections.values() for figure in section]
    assert len({figure.name for figure in figures}) == len(figures) >= 18
    for figure in figures:
        for trace in figure.data:
            if trace.get("line", {}).get("color") == "ink":  # the page's script puts the theme's ink in
                trace["line"]["color"] = "black"
        go.Figure(figure.data, figure.layout)
        assert figure.title and figure.caption and len(figure.alternative) > 20


def test_memory_is_stacked_a_core(report):
    memory = next(figure for figure in make_figures(report)["cost"] if figure.name == "memory")
    bars = {}
    for trace in memory.data:
        for label, size in zip(trace["y"], trace["x"], strict=True):
            bars[label] = bars.get(label, 0) + size
    assert bars == {
        "half: flash, Cortex-M4": 16000,
        "half: flash, Cortex-M7": 15500,
        "half: RAM, Cortex-M4": 400,
        "half: RAM, Cortex-M7": 300,
    }


def test_work_of_layers_and_populations_adds_up(small_run, tmp_path):
    loihi.convert(small_run, tmp_path / "loihi")
    executor, manifest = load(tmp_path / "loihi"), read_bundle(tmp_path / "loihi")
    evaluation = evaluate(executor, episodes=2, env=plant_for(executor.interface.task))
    record = make_record(evaluation, executor)
    cost = break_down(Subject("chip", tmp_path / "loihi", executor, manifest), record)
    counts = record.counts_per_decision
    for counted in ("messages", "synaptic_operations", "neuron_updates"):
        for where in (cost.populations, cost.cores):
            assert sum(part.counts[counted] for part in where) == pytest.approx(counts[counted])
    dense = sum(part.counts["macs"] for part in cost.layers)
    assert dense == sum(macs * counts.get(function, 0) for function, macs in executor.macs.items()) > 0


def test_buffers_of_c_are_read_from_its_memory_map(small_c):
    path, _ = small_c
    executor = load(path)
    evaluation = evaluate(executor, episodes=1, env=plant_for(executor.interface.task))
    cost = break_down(Subject("c", path, executor, read_bundle(path)), make_record(evaluation, executor))
    lines = [line for line in (path / "memory.txt").read_text().splitlines() if line.startswith(" ")]
    assert len(cost.slots) == len(lines) > 4
    for function in {slot.function for slot in cost.slots}:
        own = [slot for slot in cost.slots if slot.function == function]
        for a in own:
            # Two buffers that live at the same time share no byte.
            alive = [b for b in own if b is not a and b.first_step < a.last_step and a.first_step < b.last_step]
            assert all(b.last_byte < a.first_byte or a.last_byte < b.first_byte for b in alive)
    assert cost.memory["flash, weights"] > 0
