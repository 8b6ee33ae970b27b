import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmbrl.targets import costs
from nmbrl.targets.costs import (
    BOARDS,
    CONSTANTS,
    LOIHI_COUNTS,
    MLPERF_TINY_MACS,
    desktop_processor,
    estimates,
    loihi,
    microcontroller,
)

amounts = st.floats(0, 1e9)


def test_the_benchmark_itself_costs_what_was_measured():
    energy = microcontroller(MLPERF_TINY_MACS)
    assert energy.joules == pytest.approx(416.3e-6)
    assert (energy.low, energy.high) == (pytest.approx(31.8e-6), pytest.approx(416.3e-6))
    assert "STM32L4R5" in energy.source


def test_picojoules_a_mac_as_published():
    # Rounded figures of the same results, each divided by 264,192 multiply-accumulates.
    published = [1576, 770, 627, 310, 292, 120]
    assert [round(board.microjoules * 1e6 / MLPERF_TINY_MACS) for board in BOARDS] == published


def test_loihi_by_hand():
    counts = {"synaptic_operations": 1000, "neuron_updates": 100, "messages": 10}
    counts |= {"packets": 20, "hops_east_west": 7, "hops_north_south": 3}
    davies, fitted, keras = loihi(counts)
    mesh = 20 * 1.7 + 7 * 3.0 + 3 * 4.0
    assert davies.joules == davies.high == pytest.approx((1000 * 23.6 + 100 * 81 + mesh) * 1e-12)
    assert davies.low == pytest.approx((1000 * 23.6 + 10 * 81 + 90 * 52 + mesh) * 1e-12)
    mesh = 20 * 111 + 7 * 3.0 + 3 * 4.2
    assert fitted.joules == pytest.approx((1000 * 35.5 + 100 * (51.2 + 21.6) + 10 * 69.3 + mesh) * 1e-12)
    assert fitted.low == pytest.approx((1000 * 33.6 + 100 * 51.2 + 10 * 21.6 + 10 * 69.3 + mesh) * 1e-12)
    assert keras.joules == pytest.approx((1000 * 27.1 + 100 * 81) * 1e-12)
    assert "Davies" in davies.source and "SANA-FE" in fitted.source and "KerasSpiking" in keras.source


@given(amounts, amounts, amounts, amounts)
def test_every_estimate_lies_in_its_range_and_names_its_source(macs, synaptic, updates, messages):
    counts = dict.fromkeys(LOIHI_COUNTS, messages) | {"synaptic_operations": synaptic, "neuron_updates": updates}
    for energy in (microcontroller(macs), desktop_processor(macs), *loihi(counts)):
        assert energy.joules >= 0
        if energy.low is not None:
            assert energy.low <= energy.joules <= energy.high
            assert energy.range_of
        assert energy.source and energy.leaves_out


def test_only_known_targets_are_priced():
    spikes = dict.fromkeys(LOIHI_COUNTS, 5.0)
    assert [energy.name for energy in estimates("loihi", 100, spikes)] == [energy.name for energy in loihi(spikes)]
    assert estimates("tflite", 100, {}) == (microcontroller(100),)
    assert estimates("onnx", 100, {}) == (desktop_processor(100),)
    assert estimates("abacus", 100, {}) == ()


def test_every_constant_is_listed_with_its_source():
    units = {"PICO", "NANO", "MICRO"}
    constants = {name: value for name, value in vars(costs).items() if isinstance(value, float) and name not in units}
    assert len(constants) > 15
    assert set(constants.values()) <= {constant.joules for constant in CONSTANTS}
    for board in BOARDS:
        assert any(board.name in constant.name for constant in CONSTANTS)
    assert len({(constant.name, constant.source) for constant in CONSTANTS}) == len(CONSTANTS)
    assert all(constant.joules > 0 and constant.source for constant in CONSTANTS)
