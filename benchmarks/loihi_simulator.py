"""Measures time steps of the compiled simulator beside NumPy's and Lava's, on the same networks in one run.

``python benchmarks/loihi_simulator.py [--out FILE]`` writes ``benchmarks/results/loihi-simulator.json``. Lava runs in a
process of its own and must end in the same integers.
"""

import argparse
import ctypes
import json
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from nmbrl.runtime.evaluation import versions
from nmbrl.targets.compiler import build_library
from nmbrl.targets.files import write_text
from nmbrl.targets.loihi.compiled import CompiledSimulator
from nmbrl.targets.loihi.network import Input, Network, SigmaDelta, Synapses
from nmbrl.targets.loihi.simulator import Simulator

RESULT = Path(__file__).parent / "results" / "loihi-simulator.json"
BATCH = 256
WARM_UP, STEPS, BATCH_STEPS = 30, 400, 20
# Lava runs some steps at a time; the first time it also compiles, and of the others the shortest is taken.
LAVA_CHUNKS, LAVA_STEPS = 11, 20
LAVA_LIMIT = 300.0
CASES: dict[str, dict[str, Any]] = {
    "4 x 64": {"layers": 4, "size": 64, "recurrent": False, "share": 1.0},
    "4 x 64, sparse": {"layers": 4, "size": 64, "recurrent": False, "share": 0.1},
    "10 x 256 recurrent": {"layers": 10, "size": 256, "recurrent": True, "share": 1.0},
    "10 x 256 recurrent, sparse": {"layers": 10, "size": 256, "recurrent": True, "share": 0.1},
}
# Multiply-accumulates of 16-bit integers into registers, ten chains at a time, so that none waits for another.
PEAK = """
#include <immintrin.h>
#include <stdint.h>
#if defined(__AVX512VNNI__)
typedef __m512i vector;
#define LANES 32
#define set(x) _mm512_set1_epi32(x)
#define dot(sum) sum = _mm512_dpwssd_epi32(sum, a, b)
#else
typedef __m256i vector;
#define LANES 16
#define set(x) _mm256_set1_epi32(x)
#define dot(sum) sum = _mm256_add_epi32(sum, _mm256_madd_epi16(a, b))
#endif
int32_t lanes(void) { return LANES; }
void peak(int64_t rounds, int32_t seed)
{
    vector a = set(seed), b = set(seed + 1), c = a, d = a, e = a, f = a, g = a, h = a, i = a, j = a, k = a, l = a;
    for (int64_t round = 0; round < rounds; round++) {
        dot(c); dot(d); dot(e); dot(f); dot(g); dot(h); dot(i); dot(j); dot(k); dot(l);
        __asm__ volatile("" : "+x"(c), "+x"(d), "+x"(e), "+x"(f), "+x"(g), "+x"(a));
        __asm__ volatile("" : "+x"(h), "+x"(i), "+x"(j), "+x"(k), "+x"(l), "+x"(b));
    }
}
"""


def build(layers: int, size: int, recurrent: bool, threshold: int) -> Network:
    """Return sigma-delta layers in a row, all-to-all, each to itself too where recurrent; the same every time."""
    random = np.random.default_rng(0)
    populations: list[Input | SigmaDelta] = [Input("in", size, message_bits=24)]
    synapses = []
    for layer in range(layers):
        name, bias = f"p{layer}", np.zeros(size, np.int32)
        populations.append(SigmaDelta(name, size, threshold, 24, bias=bias, state_exp=0, relu=True))
        for source in (populations[-2].name, name) if recurrent else (populations[-2].name,):
            weights = (random.integers(-16, 17, (size, size)) * 2).astype(np.int32)
            synapses.append(Synapses(source, name, weights, weight_exp=-8))
    return Network(tuple(populations), tuple(synapses), {"u": "in"}, {"y": populations[-1].name}, layers + 1)


def changes(size: int, steps: int, share: float, lanes: int = 1) -> np.ndarray:
    """Return input changes (steps, lanes, size): one in a `share` of the neurons and steps."""
    random = np.random.default_rng(1)
    shape = (steps, lanes, size)
    return (random.integers(-500, 501, shape) * (random.random(shape) < share)).astype(np.int32)


def choose_threshold(case: dict[str, Any]) -> int:
    """Return the power of 2 with which about as many neurons send as inputs change; 0 for all of them."""
    if case["share"] == 1.0:
        return 0
    found = {2**k: activity(case, 2**k) for k in range(10)}
    return min(found, key=lambda threshold: abs(found[threshold] - case["share"]))


def activity(case: dict[str, Any], threshold: int) -> float:
    """Return the share of neurons that send in a step."""
    network = build(case["layers"], case["size"], case["recurrent"], threshold)
    simulator = CompiledSimulator(network)
    run_ours(simulator, changes(case["size"], 50, case["share"]))
    return float(simulator.activity.messages.sum() / simulator.activity.messages.shape[1] / 50)


def run_ours(simulator: CompiledSimulator | Simulator, given: np.ndarray) -> np.ndarray:
    """Return the seconds of processor time of each step: what the wall clock shows on a machine without other work."""
    seconds = []
    for value in np.cumsum(given, axis=0, dtype=np.int32):
        begin = time.process_time()
        simulator.run({"in": value}, steps=1)
        seconds.append(time.process_time() - begin)
    return np.array(seconds)


def measure(name: str) -> dict[str, Any]:
    """Measure one case by all three simulators."""
    case = CASES[name]
    threshold = choose_threshold(case)
    network = build(case["layers"], case["size"], case["recurrent"], threshold)
    result: dict[str, Any] = {"name": name, "threshold": threshold}
    for label, kind in (("compiled", CompiledSimulator), ("numpy", Simulator)):
        for lanes in (1, BATCH):
            steps = STEPS if lanes == 1 else BATCH_STEPS
            simulator, given = kind(network, lanes), changes(case["size"], WARM_UP + steps, case["share"], lanes)
            run_ours(simulator, given[:WARM_UP])
            simulator.activity.clear()
            result[f"{label}_{lanes}"] = float(np.median(run_ours(simulator, given[WARM_UP:])))
            sent = simulator.activity.by_neuron()
            result[f"activity_{lanes}"] = float(sent.sum() / sent.size / simulator.activity.lane_steps)
            result[f"operations_{lanes}"] = float(sent @ simulator.activity.fan_out / simulator.activity.lane_steps)
    simulator = CompiledSimulator(network)
    run_ours(simulator, changes(case["size"], LAVA_CHUNKS * LAVA_STEPS, case["share"]))
    child = subprocess.run(
        [sys.executable, __file__, "--lava", name, str(threshold)],
        capture_output=True,
        text=True,
        timeout=LAVA_LIMIT,
        check=True,
    )
    lava = json.loads(child.stdout.splitlines()[-1])
    result["lava"] = lava["seconds"]
    result["differences"] = int((simulator.read(network.outputs["y"])[0] != np.array(lava["sent"])).sum())
    return result


def run_lava(name: str, threshold: int) -> dict[str, Any]:
    """Run a case in Lava: seconds a step, and what the last layer has sent."""
    import nmbrl.targets.loihi.lava.shim  # noqa: F401 - before anything of Lava

    # isort: split
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg
    from lava.proc.dense.models import PyDenseModelBitAcc
    from lava.proc.dense.process import Dense
    from lava.proc.io.source import PySendModelFixed, RingBuffer
    from lava.proc.sdn.models import PySigmaDeltaModelFixed
    from lava.proc.sdn.process import ActivationMode
    from lava.proc.sdn.process import SigmaDelta as LavaSigmaDelta

    case = CASES[name]
    network = build(case["layers"], case["size"], case["recurrent"], threshold)
    given = changes(case["size"], LAVA_CHUNKS * LAVA_STEPS, case["share"])[:, 0].T
    outs, neurons = {"in": RingBuffer(data=given).s_out}, {}
    for population in network.populations[1:]:
        neuron = LavaSigmaDelta(shape=(population.size,), vth=0, act_mode=ActivationMode.RELU, state_exp=0)
        neuron.vth.init = threshold
        neurons[population.name], outs[population.name] = neuron, neuron.s_out
    for part in network.synapses:
        dense = Dense(weights=part.weights, weight_exp=part.weight_exp, num_message_bits=24)
        outs[part.source].connect(dense.s_in)
        dense.a_out.connect(neurons[part.target].a_in)
    last = neurons[network.outputs["y"]]
    models = {RingBuffer: PySendModelFixed, Dense: PyDenseModelBitAcc, LavaSigmaDelta: PySigmaDeltaModelFixed}
    configuration = Loihi2SimCfg(select_tag="fixed_pt", exception_proc_model_map=models)
    seconds = []
    for _ in range(LAVA_CHUNKS):
        begin = time.perf_counter()
        last.run(condition=RunSteps(num_steps=LAVA_STEPS), run_cfg=configuration)
        seconds.append(time.perf_counter() - begin)
    sent = (last.act.get() - last.residue.get()).astype(int).tolist()
    last.stop()
    return {"seconds": min(seconds[1:]) / LAVA_STEPS, "sent": sent}


def measure_peak() -> float:
    """Return multiply-accumulates of 16-bit integers a second that one core of this machine can do."""
    library = ctypes.CDLL(str(build_library({"peak.c": PEAK})))
    library.peak.argtypes = [ctypes.c_int64, ctypes.c_int32]
    rounds, seconds = 100_000, []
    for seed in range(100):
        begin = time.perf_counter()
        library.peak(rounds, seed)
        seconds.append(time.perf_counter() - begin)
    return 10 * rounds * library.lanes() / min(seconds)


def main() -> None:
    """Measure every case, or one of them in Lava."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--lava", nargs=2)
    arguments = parser.parse_args()
    if arguments.lava:
        print(json.dumps(run_lava(arguments.lava[0], int(arguments.lava[1]))))
        return
    peak, cases = measure_peak(), []
    for name in CASES:
        cases.append(measure(name))
        print(json.dumps(cases[-1]), flush=True)
    result = {"batch": BATCH, "peak": peak, "cases": cases, "machine": platform.processor(), "versions": versions()}
    write_text(arguments.out, json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
