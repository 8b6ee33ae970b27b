"""Films: the same episodes on every row, and the environment with what each model predicts drawn over it."""

import hashlib
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nmbrl.runtime.closed_loop import Episode
from nmbrl.runtime.environment import Environment
from nmbrl.runtime.report.document import Report
from nmbrl.runtime.report.pose import find_plant, pose
from nmbrl.runtime.report.record import play_episode
from nmbrl.runtime.report.row import Loop, Recording
from nmbrl.runtime.report.world import reanchored
from nmbrl.runtime.video import encode, picture
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.files import write_bytes
from nmbrl.targets.interface import Array

# Larger side of a picture; what DeepMind Control draws, which is then scaled down; pictures of a film, at most.
SIDE = 240
DRAWN = {"width": 480, "height": 360, "camera_id": 0}
LONGEST = 400
# Decisions that a drawn prediction looks ahead before it sees the real observation again.
AHEAD = 15
# Okabe and Ito's orange, which stands apart from the greys and blues of most environments.
GHOST = np.array([230, 159, 0], float)
# Difference of two pictures, of 255, from which on a pixel counts as another thing.
VISIBLE = 24


@dataclass
class Films:
    """MP4 files by row name.

    Attributes:
        typical: of the report's typical episode.
        worst: of its worst episode.
        predicted: of the traced episode, with the row's prediction drawn over it.
        failures: one line for every reason why some are missing.
        interrupted: whether the user ended it.
    """

    typical: dict[str, bytes]
    worst: dict[str, bytes]
    predicted: dict[str, bytes]
    failures: list[str] = field(default_factory=list)
    interrupted: bool = False


def make_films(
    report: Report, loops: list[Loop], recording: Recording | None, keep: Path | None, say: Callable[[str], None]
) -> Films:
    """Film what can be filmed; rows that act alike have the same film.

    Args:
        report: tells which episodes.
        loops: of its rows.
        recording: holds the traced episode; None if every row is a board's.
        keep: folder in which films are kept; None keeps none.
        say: told what is being done.
    """
    films = Films({}, {}, {})
    shelf = _Shelf(keep)
    try:
        with closing(_open(report)) as environment:
            for name, chosen, made in (
                ("typical", report.typical, films.typical),
                ("worst", report.worst, films.worst),
            ):
                say(f"films of the {name} episode")
                for loop in loops:
                    episode = _find(loop.episodes, chosen.seed, chosen.varied)
                    made[loop.subject.name] = shelf.get(
                        (report.env, report.action_repeat, episode.seed, episode.varied, np.stack(episode.actions)),
                        partial(_film, environment, episode),
                    )
            if recording is not None:
                _film_predictions(environment, loops, recording.episodes[recording.traced], films, shelf, say)
    except KeyboardInterrupt:
        films.interrupted = True
        films.failures.append("interrupted: some films are missing")
    except NmbrlError as error:
        films.failures.append(str(error))
    return films


def overlay(real: np.ndarray, predicted: np.ndarray, background: np.ndarray, share: float) -> np.ndarray:
    """Draw what is only in the predicted picture over the real one, in orange, and how far ahead it looks.

    Args:
        real: RGB (height, width, 3).
        predicted: the same plant in the predicted pose, seen by the same camera.
        background: what both look like where nothing moves.
        share: 0 to 1, of the bar at the bottom edge.
    """
    ours, theirs, still = (image.astype(float) for image in (real, predicted, background))
    differs = np.abs(theirs - ours).max(axis=2) > VISIBLE
    nearer = np.abs(theirs - still).max(axis=2) >= np.abs(ours - still).max(axis=2)
    ghost = (differs & nearer)[..., None]
    shade = theirs.mean(axis=2, keepdims=True) / 255
    drawn = np.where(ghost, 0.25 * ours + 0.75 * GHOST * (0.4 + 0.6 * shade), ours)
    drawn[-3:, : round(share * drawn.shape[1])] = GHOST
    return drawn.round().astype(np.uint8)


class _Shelf:
    """Films that were made before, by what they are of; on disk where there is a folder."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._made: dict[str, bytes] = {}

    def get(self, about: tuple[object, ...], make: Callable[[], bytes]) -> bytes:
        digest = hashlib.sha256(repr((SIDE, AHEAD)).encode())
        for part in about:
            digest.update(part.tobytes() if isinstance(part, np.ndarray) else repr(part).encode())
        key = digest.hexdigest()[:16]
        if key not in self._made:
            file = None if self._folder is None else self._folder / f"{key}.mp4"
            if file is not None and file.is_file():
                self._made[key] = file.read_bytes()
            else:
                self._made[key] = make()
                if file is not None:
                    write_bytes(file, self._made[key])
        return self._made[key]


def _open(report: Report) -> Environment:
    """Make the environment with pictures; DeepMind Control is told how large and from where."""
    options: dict[str, Any] = {"render_kwargs": DRAWN} if report.env.startswith("dm_control/") else {}
    return Environment(report.env, report.action_repeat, render=True, **options)


def _find(episodes: Iterable[Episode], seed: int, varied: bool) -> Episode:
    return next(episode for episode in episodes if (episode.seed, episode.varied) == (seed, varied))


def _shown(decisions: int) -> int:
    """How many decisions pass from one picture to the next, so that a film is not too long."""
    return -(-decisions // LONGEST)


def _film(environment: Environment, episode: Episode) -> bytes:
    pictures = _pictures(environment, episode)
    return encode(pictures, ".mp4", environment.seconds_per_decision * _shown(len(episode.actions)))


def _pictures(environment: Environment, episode: Episode) -> list[np.ndarray]:
    """Pictures of an episode, taken again with its actions, the start's among them."""
    every, taken, count = _shown(len(episode.actions)), [], 0

    def look() -> None:
        nonlocal count
        if count % every == 0:
            taken.append(_small(picture(environment)))
        count += 1

    play_episode(environment, episode.seed, episode.varied, np.stack(episode.actions).tolist(), look)
    return taken


def _small(image: np.ndarray) -> np.ndarray:
    """Scale a picture down to at most `SIDE` by means over squares, with even sides, as the codec wants them."""
    factor = -(-max(image.shape[:2]) // SIDE)
    height, width = (side // factor // 2 * 2 for side in image.shape[:2])
    squares = image[: height * factor, : width * factor].reshape(height, factor, width, factor, -1)
    return squares.mean(axis=(1, 3)).round().astype(np.uint8)


def _film_predictions(
    environment: Environment,
    loops: list[Loop],
    episode: Episode,
    films: Films,
    shelf: _Shelf,
    say: Callable[[str], None],
) -> None:
    """Film the traced episode with each model's prediction; executors alone predict."""
    real = None
    for loop in loops:
        executor = loop.subject.executor
        if executor is None:
            continue
        say(f"film of what {loop.subject.name} predicts")
        predicted = reanchored(executor, episode, AHEAD)
        if real is None:
            real = _pictures(environment, episode)
        films.predicted[loop.subject.name] = shelf.get(
            (environment.task.env, environment.task.action_repeat, episode.seed, np.stack(episode.actions), predicted),
            partial(_film_prediction, environment, episode, predicted, real),
        )


def _film_prediction(environment: Environment, episode: Episode, predicted: Array, real: list[np.ndarray]) -> bytes:
    environment.reset(episode.seed, varied=episode.varied)
    plant = find_plant(environment)
    every = _shown(len(episode.actions))
    state, ghosts = plant.get(), []
    for decision, observation in enumerate(predicted):
        if decision % AHEAD == 0:
            # What is predicted begins where the real plant is.
            state = pose(plant, episode.observations[decision], state)
        state = pose(plant, observation, state)
        if (decision + 1) % every == 0:
            ghosts.append(_small(picture(environment)))
    shown = real[1 : len(ghosts) + 1]
    background = np.median(np.stack([*shown, *ghosts])[::3], axis=0)
    pictures = [
        overlay(ours, theirs, background, ((index * every) % AHEAD + 1) / AHEAD)
        for index, (ours, theirs) in enumerate(zip(shown, ghosts, strict=True))
    ]
    with suppress(NmbrlError):
        environment.reset(episode.seed)
    return encode(pictures, ".mp4", environment.seconds_per_decision * every)
