"""`nmbrl-run`: a run or a bundle in closed loop with its environment."""

import json
from pathlib import Path
from typing import Any

import click

from nmbrl.runtime.command import reports_errors
from nmbrl.runtime.evaluation import Evaluation, evaluate
from nmbrl.runtime.loihi.trace import Trace, record_trace
from nmbrl.runtime.perturbation import make_environment, parse_perturbation
from nmbrl.runtime.planners import PLANNERS, PlannerOptions, make_planner
from nmbrl.runtime.progress import episode_progress
from nmbrl.runtime.video import check_video_path, record_video
from nmbrl.targets import NmbrlError, load
from nmbrl.targets.files import write_text
from nmbrl.targets.loihi.executor import LoihiExecutor


def planner_options(command: Any) -> Any:
    """Give the command an option for every field of `PlannerOptions`."""
    for name, field in reversed(PlannerOptions.model_fields.items()):
        command = click.option(
            f"--{name.replace('_', '-')}",
            type=field.annotation,
            help=f"Planner option, default {field.default} (see nmbrl.runtime.planners.PlannerOptions).",
        )(command)
    return command


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("model", type=click.Path(path_type=Path), metavar="RUN|BUNDLE")
@click.option("--planner", type=click.Choice(list(PLANNERS)), default="policy", show_default=True)
@click.option("--episodes", type=click.IntRange(min=1), default=20, show_default=True, help="Of each kind of start.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the first episode.")
@click.option("--env", metavar="ID", help="Another environment with the same spaces.")
@click.option("--perturb", metavar="CHANGES", default="", help="E.g. pole_length=1.3,cart_mass=1.5,delay=1.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the figures here.")
@click.option("--video", type=click.Path(path_type=Path), help="Write a film of the first episode (.mp4, .gif).")
@click.option("--trace", type=click.Path(path_type=Path), help="Write messages and potentials of an episode (.npz).")
@click.option("--trace-neurons", multiple=True, help="Whose potentials, e.g. act/silu:0,3 [default: the first few].")
@click.option("--trace-picture", type=click.Path(path_type=Path), help="Draw the trace (.png, .svg, .pdf).")
@click.option("--interpreter", type=click.Choice(["tflm", "tflite-runtime"]), help="What runs a tflite bundle.")
@click.option("--simulator", type=click.Choice(["fast", "strict", "numpy", "lava"]), help="What runs a loihi bundle.")
@click.option(
    "--adapt/--no-adapt", default=None, help="Correct the model to the plant while planning [default: adapt]."
)
@planner_options
@reports_errors
def main(
    model: Path,
    planner: str,
    episodes: int,
    seed: int,
    env: str | None,
    perturb: str,
    json_file: Path | None,
    video: Path | None,
    trace: Path | None,
    trace_neurons: tuple[str, ...],
    trace_picture: Path | None,
    interpreter: str | None,
    simulator: str | None,
    **options: Any,
) -> None:
    """Run RUN or BUNDLE closed loop: returns from native and from varied starts, and what a decision takes."""
    given = {name: value for name, value in options.items() if value is not None}
    if given and planner == "policy":
        raise NmbrlError(f"--{next(iter(given)).replace('_', '-')} is no option of the policy; give another --planner")
    changes = parse_perturbation(perturb)
    if video is not None:
        check_video_path(video)
    if trace_picture is not None:
        from nmbrl.runtime.loihi.pictures import check_picture_path

        check_picture_path(trace_picture)
    executor = load(model, interpreter=interpreter, simulator=simulator)
    tracing = trace is not None or trace_picture is not None
    if tracing and not isinstance(executor, LoihiExecutor):
        raise NmbrlError(f"{model} is for {executor.target}: only Loihi bundles can be traced")
    try:
        with episode_progress(2 * episodes) as progress:
            evaluation = evaluate(executor, planner, episodes, seed, env, given, changes, progress)
        click.echo(_summary(evaluation))
        if json_file is not None:
            write_text(json_file, json.dumps(evaluation.to_json(), indent=2) + "\n")
        if video is not None:
            environment = make_environment(evaluation.env, executor.interface.task.action_repeat, changes, render=True)
            try:
                record_video(make_planner(planner, executor, **given), environment, seed, video)
            finally:
                environment.close()
            click.echo(f"wrote {video}")
        if isinstance(executor, LoihiExecutor) and tracing:
            environment = make_environment(evaluation.env, executor.interface.task.action_repeat, changes)
            try:
                made = record_trace(
                    make_planner(planner, executor, **given), executor, environment, seed, trace_neurons
                )
            finally:
                environment.close()
            _write_trace(made, trace, trace_picture)
    finally:
        executor.close()


def _write_trace(trace: Trace, file: Path | None, picture: Path | None) -> None:
    if file is not None:
        trace.save(file)
        click.echo(f"wrote {file}")
    if picture is not None:
        from nmbrl.runtime.loihi.pictures import draw_trace, save

        save(draw_trace(trace), picture)
        click.echo(f"wrote {picture}")


def _summary(evaluation: Evaluation) -> str:
    figures = evaluation.to_json()
    changed = "".join(f", {name} {size:g}" for name, size in evaluation.perturbation.items())
    (low, high), (low_varied, high_varied) = figures["interval"], figures["interval_varied"]
    latency = figures["decision_ms"]
    return "\n".join(
        [
            f"{evaluation.env}{changed}: {evaluation.target}, {evaluation.planner}",
            f"  return, native starts  {figures['mean_return']:8.1f}  [{low:.1f}, {high:.1f}]",
            f"  return, varied starts  {figures['mean_return_varied']:8.1f}  [{low_varied:.1f}, {high_varied:.1f}]",
            f"  {figures['episodes']} episodes each from seed {evaluation.seed}; 95 % intervals by bootstrap",
            f"  one decision on this machine: {latency['median']:.2f} ms median,"
            f" {latency['p95']:.2f} ms 95th percentile, {latency['max']:.2f} ms worst",
        ]
    )
