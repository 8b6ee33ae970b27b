"""Where a bundle comes from: facts that do not depend on when or where it was converted."""

import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmbrl.targets.bundle import Provenance

if TYPE_CHECKING:
    from nmbrl.train.run import Run


def make_provenance(run: "Run", packages: tuple[str, ...], options: dict[str, Any]) -> Provenance:
    """Describe a conversion.

    Args:
        run: what was converted.
        packages: distributions whose versions the bytes depend on.
        options: the conversion's options.
    """
    return Provenance(
        run=run.id,
        revision=revision(),
        versions={name: version(name) for name in sorted({"nmbrl", "numpy", *packages})},
        seed=run.seed,
        options=options,
    )


def revision() -> str:
    """Return the git revision of this source tree, or the version of nmbrl where it is installed without one."""
    root = Path(__file__).resolve().parent.parent
    if (root / ".git").exists():
        command = ["git", "-C", str(root), "rev-parse", "HEAD"]
        try:
            return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            pass
    return version("nmbrl")
