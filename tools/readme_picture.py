"""Draws the README's picture: one episode of the same task on each target, as film strips over their rewards.

python tools/readme_picture.py demo/run demo/onnx demo/tflite demo/c demo/loihi --out docs/swingup.png
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from nmbrl.runtime.closed_loop import Episode, run_episodes
from nmbrl.runtime.command import reports_errors
from nmbrl.runtime.environment import Environment
from nmbrl.runtime.planners import make_planner
from nmbrl.runtime.report.figures.style import COLOURS
from nmbrl.targets import NmbrlError, load
from nmbrl.targets.files import write_bytes

TITLES = {
    "pytorch": "PyTorch\nfloat32",
    "onnx": "ONNX Runtime\nfloat32",
    "tflite": "TFLite Micro\nint8",
    "c": "C99\nint8",
    "loihi": "Loihi\nspikes",
}
PICTURES = 8
# What MuJoCo's fixed camera of a task draws, and the part of it (left, top, right, bottom) where the cart-pole moves.
SIZE = {"width": 640, "height": 320}
CART_POLE = (0.16, 0.14, 0.84, 0.86)


@dataclass
class Film:
    """One episode on one target.

    Attributes:
        target: what executed the model.
        episode: as it went.
        pictures: RGB (height, width, 3), one at each of the times asked for.
    """

    target: str
    episode: Episode
    pictures: list[np.ndarray]


def film(path: Path, seed: int, decisions: list[int]) -> tuple[Film, float]:
    """Run one episode from the native start and keep the pictures at `decisions`.

    Returns:
        The film, and the seconds that a decision lasts.

    Raises:
        NmbrlError: if it cannot be opened or run, or the episode ends before its last picture.
    """
    executor = load(path)
    task = executor.interface.task
    options = {"render_kwargs": {**SIZE, "camera_id": 0}} if task.env.startswith("dm_control/") else {}
    environment = Environment(task.env, task.action_repeat, render=True, **options)
    pictures: list[np.ndarray] = []

    def keep(episodes: list[Episode], running: int) -> None:
        if len(episodes[0].actions) in decisions:
            picture = environment.render()
            pictures.append(_crop(picture) if task.env.startswith("dm_control/cartpole") else picture)

    try:
        episode = run_episodes(make_planner("policy", executor), [environment], [seed], [False], keep)[0]
        if len(pictures) < len(decisions):
            raise NmbrlError(f"{path}: the episode ends after {len(episode.actions)} decisions; give fewer --decisions")
        return Film(executor.target, episode, pictures), environment.seconds_per_decision
    finally:
        environment.close()
        executor.close()


def _crop(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    left, top, right, bottom = CART_POLE
    return picture[round(top * height) : round(bottom * height), round(left * width) : round(right * width)]


def draw(films: list[Film], decisions: list[int], seconds: float) -> Figure:
    """Lay the films out as strips, a row a target, with the time above and every target's reward below."""
    style = {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}
    height, width = films[0].pictures[0].shape[:2]
    tile = 1.25
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(1.5 + PICTURES * tile, 0.4 + len(films) * tile * height / width + 1.7), dpi=150)
        grid = figure.add_gridspec(
            len(films) + 1,
            PICTURES,
            height_ratios=[1] * len(films) + [1.15 / (tile * height / width)],
            left=1.3 / figure.get_figwidth(),
            right=1 - 0.2 / figure.get_figwidth(),
            top=1 - 0.3 / figure.get_figheight(),
            bottom=0.5 / figure.get_figheight(),
            wspace=0.03,
            hspace=0.06,
        )
        for row, shown in enumerate(films):
            for column, picture in enumerate(shown.pictures):
                axes = figure.add_subplot(grid[row, column])
                axes.imshow(picture, interpolation="lanczos")
                axes.set_xticks([])
                axes.set_yticks([])
                axes.spines[:].set_visible(False)
                if row == 0:
                    axes.set_title(f"{decisions[column] * seconds:.1f} s", fontsize=9, color="0.3", pad=4)
                if column == 0:
                    axes.set_ylabel(
                        f"{TITLES.get(shown.target, shown.target)}\nreturn {shown.episode.total:.0f}",
                        rotation=0,
                        ha="right",
                        va="center",
                        labelpad=8,
                        color=COLOURS[row % len(COLOURS)],
                    )
        below = figure.add_subplot(grid[len(films), :])
        for row, shown in enumerate(films):
            time = seconds * np.arange(1, len(shown.episode.rewards) + 1)
            look: Any = {"color": COLOURS[row % len(COLOURS)], "linewidth": 1 + 1.2 * (len(films) - 1 - row)}
            below.plot(time, shown.episode.rewards, **look)
        below.set_xlim(0, seconds * max(len(shown.episode.rewards) for shown in films))
        below.set_xlabel("seconds")
        below.set_ylabel("reward of\na decision")
    return figure


def encode(figure: Figure) -> bytes:
    """Return the figure as a PNG with a palette, which takes a third of the bytes."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    small = io.BytesIO()
    with Image.open(drawn) as picture:
        picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(small, format="png", optimize=True)
    return small.getvalue()


@click.command()
@click.argument("models", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="RUN|BUNDLE...")
@click.option("--out", type=click.Path(path_type=Path), default=Path("docs/swingup.png"), show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option(
    "--decisions", type=click.IntRange(min=PICTURES), default=64, show_default=True, help="Until the last picture."
)
@reports_errors
def main(models: tuple[Path, ...], out: Path, seed: int, decisions: int) -> None:
    """Draw one episode of every RUN and BUNDLE, side by side."""
    kept = [round(share) for share in np.linspace(1, decisions, PICTURES)]
    films = []
    for path in models:
        click.echo(f"{path}: one episode", err=True)
        shown, seconds = film(path, seed, kept)
        films.append(shown)
    write_bytes(out, encode(draw(films, kept, seconds)))
    click.echo(f"wrote {out}")


if __name__ == "__main__":
    main()
