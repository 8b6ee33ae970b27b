"""Measures time steps of the compiled simulator beside NumPy's and Lava's, on the same networks in one run.

``python benchmarks/loihi_simulator.py [--kind graded|lif]`` writes ``benchmarks/results/loihi-simulator.json`` and
docs/loihi-figures.md. Lava runs in a process of its own and must end in the same integers. Times are of the wall clock:
nothing else should run.
"""

import argparse
import ctypes
import json
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from loihi_page import write_results

from nmbrl.runtime.evaluation import versions
from nmbrl.targets.compiler import build_library
from nmbrl.targets.loihi.compiled import CompiledSimulator, open_library
from nmbrl.targets.loihi.limits import Integers
from nmbrl.targets.loihi.network import LIF, Input, Network, Population, SigmaDelta, Synapses
from nmbrl.targets.loihi.simulator import Simulator

BATCH = 256
KINDS = ("graded", "lif")
SIZES: dict[str, dict[str, Any]] = {
    "4 x 64": {"layers": 4, "size": 64, "recurrent": False},
    "10 x 256 recurrent": {"layers": 10, "size": 256, "recurrent": True},
}
# Of the neurons that send in a step.
ACTIVITIES = (0.5, 0.1, 0.02)
# Steps of a call, calls of a run, and runs of ours; medians count, for Lava as well: how its processes wait for one
# another is a part of what it takes.
STEPS, CALLS, RUNS = {1: 200, BATCH: 20}, 15, 6
# Lanes and steps in which a threshold is judged.
CHOICE = (8, 320)
# Calls and steps of each of Lava's; the first also compiles, and is left out.
LAVA_CALLS, LAVA_STEPS, LAVA_LIMIT = 41, 20, 300.0
# Multiply-accumulates into registers, as many chains at a time as hide their latency: of 16-bit integers and of bytes
# in vectors, and of bytes in matrices.
PEAK = """
#define _DEFAULT_SOURCE
#include <immintrin.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>
#if defined(__AVX512VNNI__)
typedef __m512i vector;
#define LANES 32
#define set(x) _mm512_set1_epi32(x)
#define dot(sum) sum = _mm512_dpwssd_epi32(sum, a, b)
#define dot_bytes(sum) sum = _mm512_dpbusd_epi32(sum, a, b)
#else
typedef __m256i vector;
#define LANES 16
#define set(x) _mm256_set1_epi32(x)
#define dot(sum) sum = _mm256_add_epi32(sum, _mm256_madd_epi16(a, b))
#endif
#define CHAINS(name, dot) \\
    void name(int64_t rounds, int32_t seed) \\
    { \\
        vector a = set(seed), b = set(seed + 1), c = a, d = a, e = a, f = a, g = a; \\
        vector h = a, i = a, j = a, k = a, l = a; \\
        for (int64_t round = 0; round < rounds; round++) { \\
            dot(c); dot(d); dot(e); dot(f); dot(g); dot(h); dot(i); dot(j); dot(k); dot(l); \\
            __asm__ volatile("" : "+x"(c), "+x"(d), "+x"(e), "+x"(f), "+x"(g), "+x"(a)); \\
            __asm__ volatile("" : "+x"(h), "+x"(i), "+x"(j), "+x"(k), "+x"(l), "+x"(b)); \\
        } \\
    }
int32_t words_operations(void) { return 10 * LANES; }
CHAINS(words, dot)
#if defined(dot_bytes)
int32_t bytes_operations(void) { return 10 * 2 * LANES; }
CHAINS(bytes, dot_bytes)
#else
int32_t bytes_operations(void) { return 0; }
void bytes(int64_t rounds, int32_t seed) { (void)rounds, (void)seed; }
#endif
#if defined(__AMX_INT8__)
static const struct { uint8_t palette, start, reserved[14]; uint16_t bytes[16]; uint8_t rows[16]; } layout = {
    .palette = 1, .bytes = {64, 64, 64, 64, 64, 64, 64, 64}, .rows = {16, 16, 16, 16, 16, 16, 16, 16}};
int32_t matrices_operations(void) { return syscall(SYS_arch_prctl, 0x1023, 18) ? 0 : 4 * 16 * 16 * 64; }
void matrices(int64_t rounds, int32_t seed)
{
    (void)seed;
    _tile_loadconfig(&layout);
    for (int64_t round = 0; round < rounds; round++) {
        _tile_dpbssd(0, 4, 6); _tile_dpbssd(1, 4, 7); _tile_dpbssd(2, 5, 6); _tile_dpbssd(3, 5, 7);
    }
    _tile_release();
}
#else
int32_t matrices_operations(void) { return 0; }
void matrices(int64_t rounds, int32_t seed) { (void)rounds, (void)seed; }
#endif
"""


def build(size_name: str, kind: str, threshold: int) -> Network:
    """Return layers in a row, all-to-all, each to itself too where recurrent; the same every time."""
    case, random = SIZES[size_name], np.random.default_rng(0)
    size = case["size"]
    populations: list[Population] = [Input("in", size, message_bits=24)]
    synapses = []
    for layer in range(case["layers"]):
        name = f"p{layer}"
        if kind == "graded":
            bias = np.zeros(size, np.int32)
            populations.append(SigmaDelta(name, size, threshold, 24, bias=bias, state_exp=0, relu=True))
        else:
            fields = {"du": 2048, "dv": 1024, "bias_mant": 0, "bias_exp": 0, "vth": threshold}
            populations.append(
                LIF(name, size, **{key: np.full(size, value, np.int32) for key, value in fields.items()})
            )
        for source in (populations[-2].name, name) if case["recurrent"] else (populations[-2].name,):
            weights = (random.integers(-16, 17, (size, size)) * 2).astype(np.int32)
            synapses.append(Synapses(source, name, weights, weight_exp=-8 if kind == "graded" else 0))
    return Network(tuple(populations), tuple(synapses), {"u": "in"}, {"y": populations[-1].name}, case["layers"] + 1)


def changes(size_name: str, kind: str, activity: float, steps: int, lanes: int = 1) -> Integers:
    """Return what the input sends (steps, lanes, size): spikes, or changes of a graded value."""
    random = np.random.default_rng(1)
    shape = (steps, lanes, SIZES[size_name]["size"])
    # Half of the graded neurons rest at 0, so that half send where all inputs change.
    share = activity if kind == "lif" else min(1.0, 2 * activity)
    payload = np.ones(shape, np.int64) if kind == "lif" else random.integers(-500, 501, shape)
    return (payload * (random.random(shape) < share)).astype(np.int32)


@cache
def choose_threshold(size_name: str, kind: str, activity: float) -> int:
    """Return the threshold, a power of 2^(1/8) or 0, with which the share that sends is nearest to an activity.

    Recurrent networks take tens of steps until they send as much as from then on, so the first quarter is left out.
    """
    lanes, steps = CHOICE
    given = np.cumsum(changes(size_name, kind, activity, steps, lanes), axis=0, dtype=np.int32)

    def miss(threshold: int) -> float:
        simulator = CompiledSimulator(build(size_name, kind, threshold), lanes, threads=2)
        simulator.play({"in": given[: steps // 4]})
        simulator.activity.clear()
        simulator.play({"in": given[steps // 4 :]})
        return abs(float(np.log((share(simulator) + 1e-9) / activity)))

    return min(sorted({0, *(round(2 ** (k / 8)) for k in range(130))}), key=miss)


def share(simulator: CompiledSimulator) -> float:
    """Return the share of neurons that sent."""
    activity = simulator.activity
    return float(activity.messages.sum() / activity.messages.shape[1] / activity.lane_steps)


def time_calls(simulator: CompiledSimulator | Simulator, given: Integers, calls: int) -> list[float]:
    """Return the seconds of a step in each of some calls that take as many rows of values each."""
    seconds = []
    for rows in np.array_split(np.cumsum(given, axis=0, dtype=np.int32), calls):
        begin = time.perf_counter()
        simulator.play({"in": rows})
        seconds.append((time.perf_counter() - begin) / len(rows))
    return seconds


def measure(size_name: str, kind: str, activity: float, with_lava: bool) -> dict[str, Any]:
    """Measure one case by all simulators."""
    threshold = choose_threshold(size_name, kind, activity)
    network = build(size_name, kind, threshold)
    result: dict[str, Any] = {"size": size_name, "kind": kind, "wanted": activity, "threshold": threshold}
    result["weights"] = sum(part.weights.size for part in network.synapses)
    for lanes, steps in STEPS.items():
        given = changes(size_name, kind, activity, steps * (CALLS + 1), lanes)
        for threads in (1,) if lanes == 1 else (1, 2):
            runs = []
            for _ in range(RUNS):
                simulator = CompiledSimulator(network, lanes, threads=threads)
                time_calls(simulator, given[:steps], 1)
                simulator.activity.clear()
                runs.append(time_calls(simulator, given[steps:], CALLS))
            result[f"seconds_{lanes}_{threads}"] = float(np.median(runs))
            # Activity varies from call to call, so the shortest is found of each.
            result[f"shortest_{lanes}_{threads}"] = float(np.median(np.min(runs, axis=0)))
            result[f"activity_{lanes}"] = share(simulator)
            sent = simulator.activity.by_neuron()
            result[f"operations_{lanes}"] = float(sent @ simulator.activity.fan_out / simulator.activity.lane_steps)
    result["numpy"] = float(np.median(time_calls(Simulator(network), changes(size_name, kind, activity, 60), 3)))
    if not with_lava:
        return result
    simulator = CompiledSimulator(network)
    given = changes(size_name, kind, activity, LAVA_CALLS * LAVA_STEPS)
    simulator.play({"in": np.cumsum(given, axis=0, dtype=np.int32)})
    result["activity_lava"] = share(simulator)
    child = subprocess.run(
        [sys.executable, __file__, "--lava", size_name, kind, str(activity), str(threshold)],
        capture_output=True,
        text=True,
        timeout=LAVA_LIMIT,
        check=True,
    )
    lava = json.loads(child.stdout.splitlines()[-1])
    result["lava"], result["lava_shortest"] = lava["seconds"], lava["shortest"]
    result["differences"] = int((simulator.read(network.outputs["y"])[0] != np.array(lava["values"])).sum())
    return result


def run_lava(size_name: str, kind: str, activity: float, threshold: int) -> dict[str, Any]:
    """Run a case in Lava: median and shortest seconds of a step, and the last layer's values."""
    import nmbrl.targets.loihi.lava.shim  # noqa: F401 - before anything of Lava

    # isort: split
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg
    from lava.proc.dense.models import PyDenseModelBitAcc
    from lava.proc.dense.process import Dense
    from lava.proc.io.source import PySendModelFixed, RingBuffer
    from lava.proc.lif.models import PyLifModelBitAcc
    from lava.proc.lif.process import LIF as LavaLIF
    from lava.proc.sdn.models import PySigmaDeltaModelFixed
    from lava.proc.sdn.process import ActivationMode
    from lava.proc.sdn.process import SigmaDelta as LavaSigmaDelta

    network = build(size_name, kind, threshold)
    given = changes(size_name, kind, activity, LAVA_CALLS * LAVA_STEPS)[:, 0].T
    outs, neurons = {"in": RingBuffer(data=given).s_out}, {}
    for population in network.populations[1:]:
        shape = (population.size,)
        if kind == "lif":
            neuron = LavaLIF(shape=shape, du=2048, dv=1024, vth=threshold)
        else:
            neuron = LavaSigmaDelta(shape=shape, vth=0, act_mode=ActivationMode.RELU, state_exp=0)
            neuron.vth.init = threshold
        neurons[population.name], outs[population.name] = neuron, neuron.s_out
    for part in network.synapses:
        dense = Dense(weights=part.weights, weight_exp=part.weight_exp, num_message_bits=0 if kind == "lif" else 24)
        outs[part.source].connect(dense.s_in)
        dense.a_out.connect(neurons[part.target].a_in)
    last = neurons[network.outputs["y"]]
    models = {RingBuffer: PySendModelFixed, Dense: PyDenseModelBitAcc}
    models |= {LavaSigmaDelta: PySigmaDeltaModelFixed, LavaLIF: PyLifModelBitAcc}
    configuration = Loihi2SimCfg(select_tag="fixed_pt", exception_proc_model_map=models)
    seconds = []
    for _ in range(LAVA_CALLS):
        begin = time.perf_counter()
        last.run(condition=RunSteps(num_steps=LAVA_STEPS), run_cfg=configuration)
        seconds.append(time.perf_counter() - begin)
    values = last.v.get() if kind == "lif" else last.act.get() - last.residue.get()
    last.stop()
    times = np.array(seconds[1:]) / LAVA_STEPS
    return {"seconds": float(np.median(times)), "shortest": float(times.min()), "values": values.astype(int).tolist()}


def measure_peaks() -> dict[str, float]:
    """Return multiply-accumulates a second that a core can do, by the keys of `loihi_page.PEAKS`; 0 without them."""
    library, peaks = ctypes.CDLL(str(build_library({"peak.c": PEAK}))), {}
    for name, rounds in {"words": 100_000, "bytes": 100_000, "matrices": 10_000}.items():
        operations = getattr(library, f"{name}_operations")()
        if name == "matrices" and not open_library().nmbrl_loihi_has_matrices():
            operations = 0
        call, seconds = getattr(library, name), []
        call.argtypes = [ctypes.c_int64, ctypes.c_int32]
        for seed in range(50 if operations else 0):
            begin = time.perf_counter()
            call(rounds, seed)
            seconds.append(time.perf_counter() - begin)
        peaks[name] = rounds * operations / min(seconds) if operations else 0.0
    return peaks


def describe_processor() -> dict[str, object]:
    """Return the processor's vendor and family (of Linux), and which of the instruction sets that matter it has."""
    known = Path("/proc/cpuinfo")
    lines = [line.partition(":") for line in (known.read_text() if known.exists() else "").splitlines() if ":" in line]
    facts = {name.strip(): value.strip() for name, _, value in lines}
    sets = ("avx2", "avx512bw", "avx512_vbmi", "avx512_vnni", "amx_int8")
    flags = {flag.replace("avx512vbmi", "avx512_vbmi") for flag in facts.get("flags", "").split()}
    keys = ("vendor_id", "cpu family", "model")
    return {**{key: facts.get(key, "") for key in keys}, "sets": [name for name in sets if name in flags]}


def main() -> None:
    """Measure every case, or one of them in Lava."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kind", choices=KINDS)
    parser.add_argument("--no-lava", action="store_true", help="measure without it, and write nothing")
    parser.add_argument("--lava", nargs=4)
    arguments = parser.parse_args()
    if arguments.lava:
        size_name, kind, activity, threshold = arguments.lava
        print(json.dumps(run_lava(size_name, kind, float(activity), int(threshold))))
        return
    machine = {"peaks": measure_peaks(), "machine": describe_processor(), "versions": versions()}
    for kind in (arguments.kind,) if arguments.kind else KINDS:
        cases = []
        for size_name in SIZES:
            for activity in ACTIVITIES:
                cases.append(measure(size_name, kind, activity, not arguments.no_lava))
                print(json.dumps(cases[-1]), flush=True)
        if not arguments.no_lava:
            write_results("simulator", {kind: {"cases": cases, "batch": BATCH, **machine}})


if __name__ == "__main__":
    main()
