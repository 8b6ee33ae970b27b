"""A film of one episode."""

from pathlib import Path

import numpy as np

from nmbrl.runtime.closed_loop import run_episodes
from nmbrl.runtime.environment import Environment
from nmbrl.runtime.planners import Planner
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.files import write_bytes

FORMATS = (".mp4", ".gif")


def check_video_path(path: Path) -> None:
    """Refuse a file name that no video can be written to, before anything costly is done.

    Raises:
        NmbrlError: if the ending is not one of `FORMATS`.
    """
    if path.suffix.lower() not in FORMATS:
        raise NmbrlError(f"--video {path} must end in {' or '.join(FORMATS)}")


def record_video(planner: Planner, environment: Environment, seed: int, path: Path) -> None:
    """Run one episode from the native start and write it as a film in real time, one picture a decision.

    Args:
        planner: decides.
        environment: made with ``render=True``.
        seed: of the episode.
        path: a file that ends in ``.mp4`` (H.264) or ``.gif``.

    Raises:
        NmbrlError: if nothing here can draw (no display, EGL or OSMesa) or encode, or the file cannot be written.
    """
    check_video_path(path)
    pictures: list[np.ndarray] = []
    run_episodes(planner, [environment], [seed], [False], lambda *_: pictures.append(picture(environment)))
    write_bytes(path, encode(pictures, path.suffix.lower(), environment.seconds_per_decision))


def picture(environment: Environment) -> np.ndarray:
    """Draw the environment as it is: RGB (height, width, 3).

    Raises:
        NmbrlError: if nothing here can draw.
    """
    try:
        return environment.render()
    except Exception as error:  # what a missing display raises depends on the drawing library
        cause = _first_line(error)
        raise NmbrlError(f"no video: nothing can draw here ({cause}); install libegl1 or libosmesa6") from error


def encode(pictures: list[np.ndarray], ending: str, seconds: float) -> bytes:
    """Return pictures as a film.

    Args:
        pictures: RGB (height, width, 3), all of one size.
        ending: one of `FORMATS`.
        seconds: that a picture is shown.

    Raises:
        NmbrlError: if nothing here can encode it.
    """
    try:
        import imageio.v3 as imageio

        if ending == ".gif":
            return imageio.imwrite("<bytes>", pictures, extension=ending, duration=1000 * seconds, loop=0)
        return imageio.imwrite(
            "<bytes>", pictures, extension=ending, plugin="FFMPEG", fps=1 / seconds, macro_block_size=2
        )
    except ModuleNotFoundError as error:
        raise NmbrlError(f"a video needs {error.name}: pip install 'nmbrl[video]'") from error
    except (ImportError, OSError, RuntimeError) as error:
        raise NmbrlError(
            f"no video: {ending} cannot be encoded here ({_first_line(error)}); pip install 'nmbrl[video]'"
        ) from error


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
