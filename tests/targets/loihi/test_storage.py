import json

import numpy as np
import pytest

from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.loihi.network import Input, Network, SigmaDelta, Synapses
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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s["populations"][2].update(kind="lif"), "lif"),
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
    ],
)
def test_weights_that_no_synapse_holds_are_refused(weights, options):
    with pytest.raises(NmbrlError, match="cannot hold"):
        Synapses("a", "b", np.array(weights, np.int32), **options)


def test_a_network_is_checked_as_a_whole():
    neuron = SigmaDelta("y", 1, bias=np.zeros(1, np.int32), state_exp=0)
    synapses = Synapses("in.u", "y", np.array([[2]], np.int32), port=1)
    with pytest.raises(NmbrlError, match="no port 1"):
        Network((Input("in.u", 1), neuron), (synapses,), {}, {}, 1)
    with pytest.raises(NmbrlError, match="not 1 long"):
        SigmaDelta("y", 1, bias=np.zeros(2, np.int32), state_exp=0)
