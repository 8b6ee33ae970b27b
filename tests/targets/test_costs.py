import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmbrl.targets.costs import BOARDS, MLPERF_TINY_MACS, desktop_processor, estimates, loihi, microcontroller

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
    davies, fitted = loihi({"synaptic_operations": 1000, "neuron_updates": 100, "messages": 10})
    assert davies.joules == pytest.approx((1000 * 23.6 + 100 * 81 + 10 * 1.7) * 1e-12)
    assert davies.low == pytest.approx((1000 * 23.6 + 100 * 52 + 10 * 1.7) * 1e-12)
    assert davies.high == pytest.approx((1000 * 23.6 + 100 * 81 + 10 * (1.7 + 7 * 3.0 + 3 * 4.0)) * 1e-12)
    assert fitted.joules == pytest.approx((1000 * 35.5 + 100 * (51.2 + 21.6) + 10 * (69.3 + 111)) * 1e-12)
    assert "Davies" in davies.source and "SANA-FE" in fitted.source


@given(amounts, amounts, amounts, amounts)
def test_every_estimate_lies_in_its_range_and_names_its_source(macs, synaptic, updates, messages):
    counts = {"synaptic_operations": synaptic, "neuron_updates": updates, "messages": messages}
    for energy in (microcontroller(macs), desktop_processor(macs), *loihi(counts)):
        assert energy.joules >= 0
        if energy.low is not None:
            assert energy.low <= energy.joules <= energy.high
            assert energy.range_of
        assert energy.source and energy.leaves_out


def test_only_known_targets_are_priced():
    spikes = {"synaptic_operations": 5.0, "neuron_updates": 5.0, "messages": 5.0}
    assert [energy.name for energy in estimates("loihi", 100, spikes)] == [energy.name for energy in loihi(spikes)]
    assert estimates("tflite", 100, {}) == (microcontroller(100),)
    assert estimates("onnx", 100, {}) == (desktop_processor(100),)
    assert estimates("abacus", 100, {}) == ()
