import json

import loihi_networks
import numpy as np
import pytest

from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.loihi.network import LIF, Input, Network, SigmaDelta, Synapses
from nmbrl.targets.loihi.simulator import Simulator
from nmbrl.targets.loihi.storage import encode_network, read_network

from .networks import random_network, random_values


def write(directory, network):
    for name, content in encode_network(network, "n").items():
        (directory / name).write_bytes(content)
    return directory / "n.json"


@pytest.mark.parametrize("seed", range(5))
def test_a_network_comes_back_whole(tmp_path, seed):
    network = random_network(seed, thresholds=True)
    back = read_network(write(tmp_path, network))
    assert encode_network(back, "n") == encode_network(network, "n")
    values = random_values(np.random.default_rng(seed), network, 2)
    first, second = Simulator(network, 2), Simulator(back, 2)
    for _ in range(network.steps):
        one, other = first.step(values), second.step(values)
        assert all(np.array_equal(one[name], other[name]) for name in one) and one.keys() == other.keys()


@pytest.mark.parametrize("seed", range(8))
def test_a_spiking_network_comes_back_whole(tmp_path, seed):
    network = loihi_networks.draw_network(seed)
    back = read_network(write(tmp_path, network))
    assert encode_network(back, "n") == encode_network(network, "n")
    assert [population.kind for population in back.populations] == [p.kind for p in network.populations]
    first, second = Simulator(network), Simulator(back)
    for _ in range(20):
        one, other = first.step(), second.step()
        assert all(np.array_equal(one[name], other[name]) for name in one) and one.keys() == other.keys()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s["populations"][1].update(size=99), "not 99 long"),
        (lambda s: s["inputs"].update(u="in.b/w"), "no variable 'w'"),
        (lambda s: s["outputs"].update(u="in.b/arriving 9"), "no variable 'arriving 9'"),
        (lambda s: s["synapses"][0].update(weight_bits=10), "outside 1 to [89]"),
    ],
)
def test_a_changed_spiking_structure_is_one_clear_error(tmp_path, change, message):
    path = write(tmp_path, loihi_networks.draw_network(3))
    structure = json.loads(path.read_text())
    change(structure)
    path.write_text(json.dumps(structure))
    with pytest.raises(NmbrlError, match=message):
        read_network(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s["populations"][2].update(kind="cuba"), "cuba"),
        (lambda s: s["populations"][2].update(name="in.u"), "no Loihi network|same name"),
        (lambda s: s["populations"][0].update(size=0), "0 neurons"),
        (lambda s: s["synapses"][0].update(delay=63), "delay 63"),
        (lambda s: s["synapses"][0].update(weight_exp=8), "weight_exp 8"),
        (lambda s: s["synapses"][0].update(target="nowhere"), "no such population"),
        (
            lambda s: s["synapses"][0].update(source="in.w" if s["synapses"][0]["source"] == "in.u" else "in.u"),
            "weights are",
        ),
        (lambda s: s["inputs"].update(u="p0"), "takes no input"),
        (lambda s: s.pop("steps"), "steps"),
        (lambda s: s["synapses"][0].update(colour="red"), "colour"),
    ],
)
def test_a_changed_structure_is_one_clear_error(tmp_path, change, message):
    path = write(tmp_path, random_network(3))
    structure = json.loads(path.read_text())
    change(structure)
    path.write_text(json.dumps(structure))
    with pytest.raises(NmbrlError, match=message):
        read_network(path)


def test_a_truncated_or_missing_file_is_one_clear_error(tmp_path):
    path = write(tmp_path, random_network(3))
    arrays = path.with_suffix(".npz")
    arrays.write_bytes(arrays.read_bytes()[:-200])
    with pytest.raises(NmbrlError, match="holds no Loihi network"):
        read_network(path)
    arrays.unlink()
    with pytest.raises(NmbrlError, match="holds no Loihi network"):
        read_network(path)


@pytest.mark.parametrize(
    ("weights", "options"),
    [
        ([[3]], {}),
        ([[256]], {}),
        ([[-2]], {"sign_mode": "excitatory"}),
        ([[255]], {"sign_mode": "inhibitory"}),
        ([[254]], {"weight_bits": 4}),
        ([[128, 129]], {"sign_mode": "excitatory", "weight_bits": 1}),
    ],
)
def test_weights_that_no_synapse_holds_are_refused(weights, options):
    with pytest.raises(NmbrlError, match="cannot hold"):
        Synapses("a", "b", np.array(weights, np.int32), **options)


@pytest.mark.parametrize(
    ("parameter", "value"), [("du", 4096), ("dv", -1), ("bias_mant", 4096), ("bias_exp", 8), ("vth", 1 << 17)]
)
def test_what_a_leaky_neuron_cannot_have_is_refused(parameter, value):
    fields = {name: np.zeros(1, np.int32) for name in ("du", "dv", "bias_mant", "bias_exp", "vth")}
    LIF("y", 1, **fields)
    with pytest.raises(NmbrlError, match=f"y: {parameter} is outside"):
        LIF("y", 1, **{**fields, parameter: np.array([value], np.int32)})


def test_a_network_is_checked_as_a_whole():
    neuron = SigmaDelta("y", 1, bias=np.zeros(1, np.int32), state_exp=0)
    synapses = Synapses("in.u", "y", np.array([[2]], np.int32), port=1)
    with pytest.raises(NmbrlError, match="no port 1"):
        Network((Input("in.u", 1), neuron), (synapses,), {}, {}, 1)
    with pytest.raises(NmbrlError, match="not 1 long"):
        SigmaDelta("y", 1, bias=np.zeros(2, np.int32), state_exp=0)
