"""Holds the simulators against Lava: random networks, and a converted example over many decisions.

``python benchmarks/loihi_equality.py [--networks 500] [--steps 100] [--example RUN] [--decisions 1000]``
writes ``benchmarks/results/loihi-equality.json`` and ends with exit code 1 where any number differs. Compared in every
step are all messages of all populations, and u and v of leaky neurons.
"""

import argparse
import itertools
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import loihi_networks
import numpy as np
from loihi_page import write_results

from nmbrl.convert.loihi import convert
from nmbrl.runtime.perturbation import make_environment
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.interface import Array, Executor
from nmbrl.targets.load import load
from nmbrl.targets.loihi.compiled import CompiledSimulator
from nmbrl.targets.loihi.lava.comparison import LavaComparison
from nmbrl.targets.loihi.simulator import Simulator
from nmbrl.train.run import open_run

EXAMPLE = Path(__file__).parents[1] / "examples" / "cartpole-swingup"
# Lava takes long to start, and needs a process for every population and connection: so many networks at a time.
GROUP, LARGEST, CALL = 20, 12, 10


def compare_networks(seeds: range, steps: int) -> dict[str, Any]:
    """Run random networks beside Lava, all in one go; return what was compared, and the difference if there is one.

    Args:
        seeds: of the networks.
        steps: how many, a multiple of `CALL`.
    """
    drawn = [loihi_networks.draw_bounded(seed, steps // CALL, CALL, LARGEST) for seed in seeds]
    network = loihi_networks.join(network for network, _ in drawn)
    simulator = CompiledSimulator(network)
    definition = Simulator(network)
    compared = 0
    lava = LavaComparison(network, simulator)
    try:
        for call in range(steps // CALL):
            values = {f"n{i}.{place}": v for i, (_, calls) in enumerate(drawn) for place, v in calls[call].items()}
            compared += lava.run(values)
            definition.run(values)
        difference = _compare(simulator, definition)
    except NmbrlError as error:
        difference = str(error)
    finally:
        lava.close()
    kinds = Counter(population.kind for population in network.populations)
    synapses = Counter(
        f"{'sparse' if part.sparse else 'dense'}{', delayed' if part.delay else ''}, "
        f"{'binary' if part.binary else 'graded'}, {part.sign_mode}"
        for part in network.synapses
    )
    return {
        "compared": compared,
        "messages": int(simulator.activity.messages.sum()),
        "difference": difference,
        "populations": kinds,
        "synapses": synapses,
        "weight_bits": Counter(str(part.weight_bits) for part in network.synapses),
    }


def _compare(simulator: CompiledSimulator, definition: Simulator) -> str | None:
    """Compare the two simulators' activity and variables at the end."""
    if not np.array_equal(simulator.activity.messages, definition.activity.messages):
        return "the simulators count other messages"
    for population in simulator.network.populations:
        for variable in population.variables:
            place = f"{population.name}/{variable}"
            if not np.array_equal(simulator.read(place), definition.read(place)):
                return f"the simulators differ in {place}"
    return None


def compare_example(run: Path, decisions: int) -> dict[str, Any]:
    """Convert a run and control its plant with Lava beside every function; return counts, and the first difference.

    Every decision calls all functions of the model once.
    """
    with tempfile.TemporaryDirectory() as folder:
        convert(open_run(run), Path(folder) / "bundle")
        fast, lava = load(Path(folder) / "bundle"), load(Path(folder) / "bundle", simulator="lava")
    done, difference = 0, None
    try:
        for pairs in itertools.islice(_control(lava, fast), decisions):
            if not all(np.array_equal(ours, theirs) for ours, theirs in pairs):
                difference = "the executors differ"
                break
            done += 1
    except NmbrlError as error:
        difference = str(error)
    finally:
        lava.close()
    counts = {name: int(lava.counts[name]) for name in ("steps", "messages")}
    return {"decisions": done, "functions": list(lava.interface.functions), **counts, "difference": difference}


def _control(executor: Executor, other: Executor) -> Iterator[list[tuple[Array, Array]]]:
    """Run episodes by the policy of one executor; give after each decision what it and the other computed."""
    task = executor.interface.task
    environment = make_environment(task.env, task.action_repeat, {})
    for seed in itertools.count():
        observation, running = environment.reset(seed), True
        state, action = executor.reset(1), np.zeros((1, task.action_size), np.float32)
        while running:
            before, state = state, executor.observe(state, action, observation[None])
            results = [(state, other.observe(before, action, observation[None]))]
            action = executor.act(state)
            results.append((action, other.act(state)))
            results += zip(executor.imagine(state, action), other.imagine(state, action), strict=True)
            results += [(getattr(executor, name)(state), getattr(other, name)(state)) for name in ("value", "decode")]
            yield results
            observation, _, ended, truncated = environment.step(action[0])
            running = not (ended or truncated)


def main() -> None:
    """Compare and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--networks", type=int, default=500)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--example", type=Path, default=EXAMPLE)
    parser.add_argument("--decisions", type=int, default=1000)
    parser.add_argument("--only", choices=("networks", "example"))
    arguments = parser.parse_args()
    results: dict[str, Any] = {}
    if arguments.only != "example":
        groups = []
        for first in range(0, arguments.networks, GROUP):
            begin = time.monotonic()
            groups.append(compare_networks(range(first, min(first + GROUP, arguments.networks)), arguments.steps))
            print(f"{first + GROUP} networks, {time.monotonic() - begin:.0f} s, {groups[-1]['difference']}", flush=True)
        results["networks"] = {
            "networks": arguments.networks,
            "steps": arguments.steps,
            "compared": sum(group["compared"] for group in groups),
            "messages": sum(group["messages"] for group in groups),
            "differences": [group["difference"] for group in groups if group["difference"]],
            **{key: dict(sum((group[key] for group in groups), Counter())) for key in ("populations", "synapses")},
            "weight_bits": dict(sum((group["weight_bits"] for group in groups), Counter())),
        }
    if arguments.only != "networks":
        example = compare_example(arguments.example, arguments.decisions)
        results["example"] = {**example, "differences": [example["difference"]] if example["difference"] else []}
    write_results("equality", results)
    sys.exit(any(result["differences"] for result in results.values()))


if __name__ == "__main__":
    main()
