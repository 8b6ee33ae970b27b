"""The process that runs Lava: ``python -m nmbrl.targets.loihi.lava.child DIRECTORY``.

The directory holds ``network.json`` and its npz, ``value.<i>.npy`` for the i-th population where it is an `Input`,
``host.<i>.npy`` and ``record.<i>.npy`` where its neurons are leaky (see `leaky.make_leaky`), and
``messages.<i>.npy`` (rows, size) for every population. Each line on standard input is a number of steps to run; each
line on standard output says that they are done, and the first one that the network stands.
"""

import os
import signal
import sys
import threading
import time
from pathlib import Path

from nmbrl.targets.loihi.lava import leaky, models

# isort: split
import numpy as np
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.dense.models import PyDelayDenseModelBitAcc, PyDenseModelBitAcc
from lava.proc.dense.process import DelayDense, Dense
from lava.proc.prodneuron.models import PyProdNeuronModelFixed
from lava.proc.prodneuron.process import ProdNeuron
from lava.proc.sdn.models import PyDeltaModelFixed, PySigmaDeltaModelFixed, PySigmaModelFixed
from lava.proc.sdn.process import ActivationMode, Delta, Sigma, SigmaDelta
from lava.proc.sparse.models import PyDelaySparseModelBitAcc, PySparseModelBitAcc
from lava.proc.sparse.process import DelaySparse, Sparse
from lava.utils.weightutils import SignMode
from scipy.sparse import csr_matrix

from nmbrl.targets.loihi import network as ours
from nmbrl.targets.loihi.graded import Graded
from nmbrl.targets.loihi.network import Input, Network, Population, Product, Synapses, Table
from nmbrl.targets.loihi.storage import read_network

# Which model runs which process is said here, not left to the order in which Lava finds them.
MODELS = {
    Dense: PyDenseModelBitAcc,
    DelayDense: PyDelayDenseModelBitAcc,
    Sparse: PySparseModelBitAcc,
    DelaySparse: PyDelaySparseModelBitAcc,
    Sigma: PySigmaModelFixed,
    Delta: PyDeltaModelFixed,
    SigmaDelta: PySigmaDeltaModelFixed,
    ProdNeuron: PyProdNeuronModelFixed,
    models.DriftFreeSigmaDelta: models.PyDriftFreeSigmaDelta,
    models.Lookup: models.PyLookup,
    models.RightShift: models.PyRightShift,
    **leaky.MODELS,
}


FILES = ("host", "record")


def build(network: Network, directory: Path) -> tuple[AbstractProcess, dict]:
    """Build a network of Lava processes; return one of them, which runs them all, and which model runs which."""
    messages = {p.name: directory / f"messages.{index}.npy" for index, p in enumerate(network.populations)}
    values = {name: path.with_name(path.name.replace("messages", "value")) for name, path in messages.items()}
    inputs = {population.name for population in network.populations if isinstance(population, Input)}
    host, host_model = models.make_host({name: values[name] for name in inputs}, messages)
    ports: dict[str, list[InPort]] = {}
    outs: dict[str, OutPort] = {}
    for population in network.populations:
        name = population.name
        if isinstance(population, ours.LIF):
            files = (messages[name].with_name(messages[name].name.replace("messages", kind)) for kind in FILES)
            neuron = leaky.make_leaky(population, *files)
            ports[name], outs[name] = [neuron.a_in], neuron.s_out
        else:
            ports[name], outs[name] = _build_population(population)
        outs[name].connect(getattr(host, f"in_{name}"))
        if name in inputs:
            getattr(host, f"out_{name}").connect(ports[name].pop())
    for synapses in network.synapses:
        connection = _build_synapses(synapses)
        outs[synapses.source].connect(connection.s_in)
        connection.a_out.connect(ports[synapses.target][synapses.port])
    return host, {**MODELS, type(host): host_model}


def _build_population(population: Population) -> tuple[list[InPort], OutPort]:
    """Return a population's ports for what arrives, and where its messages come out."""
    shape = (population.size,)
    if isinstance(population, Input):
        delta = _threshold(Delta(shape=shape, vth=0), population)
        return [delta.a_in], delta.s_out
    if isinstance(population, Product):
        sigmas = [Sigma(shape=shape), Sigma(shape=shape)]
        for sigma, bias in zip(sigmas, (population.bias_0, population.bias_1), strict=True):
            sigma.sigma.init = bias
        # ProdNeuron sends where |v| > vth: below 0, always.
        product = ProdNeuron(shape=shape, vth=-1, exp=population.exponent)
        delta = _threshold(Delta(shape=shape, vth=0), population)
        shifts = (population.shift_0, population.shift_1)
        for sigma, shift, factor in zip(sigmas, shifts, (product.a_in1, product.a_in2), strict=True):
            _shifted(sigma.s_out, shift, shape).connect(factor)
        product.s_out.connect(delta.a_in)
        return [sigma.a_in for sigma in sigmas], delta.s_out
    if isinstance(population, Table):
        neuron = models.Lookup(
            shape=shape,
            bias=population.bias,
            values=population.values,
            exponent=population.exponent,
            vth=population.thresholds,
        )
        return [neuron.a_in], neuron.s_out
    if isinstance(population, ours.Sigma):
        sigma = Sigma(shape=shape)
        return [sigma.a_in], sigma.s_out
    if isinstance(population, ours.ProdNeuron):
        product = ProdNeuron(shape=shape, vth=0, exp=population.exponent)
        models.set_vector(product.vth, population.vth)
        return [product.a_in1, product.a_in2], product.s_out
    if isinstance(population, ours.Delta):
        return _build_delta(population)
    assert isinstance(population, ours.SigmaDelta)
    # Where nothing is shifted away, Lava's own rule forgets nothing either.
    process = models.DriftFreeSigmaDelta if population.state_exp else SigmaDelta
    mode = ActivationMode.RELU if population.relu else ActivationMode.UNIT
    neuron = _threshold(process(shape=shape, vth=0, act_mode=mode, state_exp=population.state_exp), population)
    neuron.bias.init = population.bias
    return [neuron.a_in], neuron.s_out


def _threshold(process: AbstractProcess, population: Graded) -> AbstractProcess:
    """Give each neuron its threshold; Lava's processes take one for all, multiplied by a power of two."""
    models.set_vector(process.vth, population.thresholds)
    return process


def _build_delta(population: ours.Delta) -> tuple[list[InPort], OutPort]:
    """Build Lava's Delta or SigmaDelta."""
    options = {
        "shape": (population.size,),
        "vth": 0,
        "spike_exp": population.spike_exp,
        "state_exp": population.state_exp,
        "cum_error": population.cum_error,
    }
    if isinstance(population, ours.LavaSigmaDelta):
        mode = ActivationMode.RELU if population.relu else ActivationMode.UNIT
        process = SigmaDelta(**options, act_mode=mode)
        process.bias.init = population.bias
    else:
        process = Delta(**options)
    # The process multiplies thresholds and biases by powers of two; here they are already.
    models.set_vector(process.vth, population.vth)
    return [process.a_in], process.s_out


def _shifted(out: OutPort, exponent: int, shape: tuple[int, ...]) -> OutPort:
    if not exponent:
        return out
    shift = models.RightShift(shape=shape, exponent=exponent)
    out.connect(shift.a_in)
    return shift.s_out


def _build_synapses(synapses: Synapses) -> Dense | DelayDense | Sparse | DelaySparse:
    options = {
        "weights": csr_matrix(synapses.weights) if synapses.sparse else synapses.weights,
        "weight_exp": synapses.weight_exp,
        "num_weight_bits": synapses.weight_bits,
        "sign_mode": SignMode[synapses.sign_mode.upper()],
        "num_message_bits": 0 if synapses.binary else 24,
    }
    if not synapses.delay:
        return Sparse(**options) if synapses.sparse else Dense(**options)
    delays = np.full(synapses.weights.shape, synapses.delay)
    if synapses.sparse:
        return DelaySparse(delays=csr_matrix(delays * (synapses.weights != 0)), **options)
    return DelayDense(delays=delays, **options)


def _end_with(parent: int) -> None:
    """Kill this process and all that Lava forked once the parent is gone, however it ended."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os.killpg(0, signal.SIGKILL)


def main() -> None:
    """Serve the commands on standard input until it ends."""
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    # Answers go where standard output went; whatever Lava prints goes to standard error.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    directory = Path(sys.argv[1])
    host, chosen = build(read_network(directory / "network.json"), directory)
    configuration = Loihi2SimCfg(select_tag="fixed_pt", exception_proc_model_map=chosen)
    print("ready", file=answers, flush=True)
    try:
        for line in sys.stdin:
            host.run(condition=RunSteps(num_steps=int(line)), run_cfg=configuration)
            print("done", file=answers, flush=True)
    finally:
        host.stop()


if __name__ == "__main__":
    main()
