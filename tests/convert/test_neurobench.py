"""NeuroBench's quantities of a spiking student, beside NeuroBench's own metrics on a twin in snnTorch."""

import numpy as np
import pytest
import snntorch
import torch
from neurobench.metrics.static import ConnectionSparsity, ParameterCount
from neurobench.metrics.workload import ActivationSparsity, MembraneUpdates, SynapticOperations
from neurobench.models import SNNTorchModel

from nmbrl.convert.loihi.lif.networks import lower
from nmbrl.runtime.loihi.counting import count
from nmbrl.targets.loihi.spiking_executor import SpikingExecutor

from .lif_runs import make_box_run, make_trainer


class Neurons(snntorch.Synaptic):
    """A population with the chip's truncation; bias currents go to the potential."""

    def __init__(self, population):
        alpha, beta = ((share - torch.tensor(x)) / 4096 for share, x in ((4095, population.du), (4096, population.dv)))
        super().__init__(
            alpha=alpha.double(),
            beta=beta.double(),
            threshold=torch.tensor(population.vth).double() * 64,
            reset_mechanism="zero",
            reset_delay=False,
            init_hidden=True,
        )
        self.bias = torch.nn.Parameter(torch.tensor(population.bias_mant).double(), requires_grad=False)
        self.exponent = 2.0 ** torch.tensor(population.bias_exp)
        self.given = torch.zeros(1)

    def _base_state_function(self, input_):
        syn = torch.trunc(self.alpha * self.syn) + input_
        return syn, torch.trunc(self.beta * self.mem) + syn + (self.bias + self.given) * self.exponent


class Twin(torch.nn.Module):
    """Networks side by side; a step takes what the host gives every neuron and returns all spikes."""

    def __init__(self, networks, states=None):
        super().__init__()
        self.networks, self.states = networks, states
        self.sizes = [part.size for network in networks.values() for part in network.populations]
        self.neurons = torch.nn.ModuleDict()
        self.synapses = torch.nn.ModuleDict()
        for function, network in networks.items():
            for part in network.populations:
                self.neurons[f"{function}/{part.name}"] = Neurons(part)
            for index, part in enumerate(network.synapses):
                linear = torch.nn.Linear(*part.weights.shape[::-1], bias=False)
                linear.weight = torch.nn.Parameter(torch.tensor(part.weights).double(), requires_grad=False)
                self.synapses[f"{function}/{index}"] = linear

    def reset(self):
        """Begin with what each call began with."""
        self.arriving = {}
        for name, neurons in self.neurons.items():
            neurons.syn, neurons.mem, self.arriving[name] = (
                torch.tensor(self.states[f"{name}/{variable}"]).double() for variable in ("u", "v", "arriving")
            )

    def forward(self, given):
        spikes = {}
        for (name, neurons), bias in zip(self.neurons.items(), given.split(self.sizes, dim=1), strict=True):
            neurons.given = bias
            spikes[name] = neurons(self.arriving[name] * 64).double()
            self.arriving[name] = torch.zeros_like(self.arriving[name])
        for function, network in self.networks.items():
            for index, part in enumerate(network.synapses):
                sent = self.synapses[f"{function}/{index}"](spikes[f"{function}/{part.source}"])
                self.arriving[f"{function}/{part.target}"] += sent * 2.0**part.weight_exp
        return torch.cat(list(spikes.values()), dim=1), None


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """A closed loop of a student with random weights: its tally, and what each function was given and sent."""
    student = make_trainer(make_box_run(tmp_path_factory.mktemp("box") / "run")).student.eval()
    functions, networks, host = lower(student)
    executor = SpikingExecutor(student.interface, dict(student.macs), functions, networks, host=host)
    given, sent = {name: [] for name in networks}, {name: [] for name in networks}
    give = executor.give

    def spy(function, inputs):
        given[function].append(give(function, inputs))
        return given[function][-1]

    executor.give = spy
    executor.on_step = lambda function, messages: sent[function].append(messages)
    return count(executor, episodes=2), given, sent


def stacked(networks, given):
    """What calls began with, and what the host gave each neuron: samples are lanes of one decision after the other."""
    states, currents = {}, []
    for function, network in networks.items():
        for part in network.populations:
            for variable in ("u", "v", "arriving"):
                place = f"{part.name}/{variable}"
                states[f"{function}/{place}"] = np.concatenate([values[place] for values in given[function]])
            zeros = np.zeros_like(states[f"{function}/{part.name}/u"])
            host = [values[part.name] for values in given[function] if part.name in values]
            currents.append(np.concatenate(host) if host else zeros)
    return states, torch.tensor(np.concatenate(currents, axis=1)).double()


def test_quantities_are_those_that_neurobench_counts(played):
    tally, given, sent = played
    figures, executor = tally.neurobench(), tally.executor
    networks = {function: executor.networks[function] for function in tally.messages}
    states, currents = stacked(networks, given)
    steps = executor.networks["act"].steps
    model = SNNTorchModel(Twin(networks, states).double())
    model.register_hooks()
    data = currents[:, None].repeat(1, steps, 1)
    spikes = model(data)
    expected = [
        np.concatenate(
            [
                np.stack([m[part.name] for m in sent[f][t::steps]])
                for f, n in networks.items()
                for part in n.populations
            ],
            2,
        )
        for t in range(steps)
    ]
    # Before anything is counted: the twin sends the same spikes.
    np.testing.assert_array_equal(spikes, np.stack(expected, 2).reshape(len(currents), steps, -1))
    assert spikes.sum() > 100

    operations = SynapticOperations()(model, spikes, (data,))
    assert operations["Effective_ACs"] == pytest.approx(figures["SynapticOperations"]["Effective_ACs"], abs=1e-9)
    assert operations["Effective_MACs"] == figures["SynapticOperations"]["Effective_MACs"] == 0
    assert operations["Dense"] == pytest.approx(figures["SynapticOperations"]["Dense"], abs=1e-9)
    assert ActivationSparsity()(model, spikes, (data,)) == pytest.approx(figures["ActivationSparsity"], abs=1e-12)
    # NeuroBench leaves out, but in the first step, updates that end in the same potential; the chip does them.
    updates = MembraneUpdates()(model, spikes, (data,))
    unchanged = sum(
        int((before == after).sum())
        for hook in model.activation_hooks
        for before, after in zip(hook.pre_fire_mem_potential[1:], hook.post_fire_mem_potential[1:], strict=True)
    )
    assert updates + unchanged / len(data) == pytest.approx(figures["MembraneUpdates"], abs=1e-9)
    assert unchanged < 0.2 * updates * len(data)


def test_static_quantities_are_those_of_neurobench(played):
    tally, _, _ = played
    figures = tally.neurobench()
    model = SNNTorchModel(Twin(tally.executor.networks).double())
    assert ParameterCount()(model) == figures["ParameterCount"]
    # NeuroBench rounds to four digits.
    assert ConnectionSparsity()(model) == pytest.approx(figures["ConnectionSparsity"], abs=5.1e-5)
