"""Planners: they see only the functions of `Executor`, so each of them runs on every target."""

from typing import Any

from pydantic import ValidationError

from nmbrl.runtime.adaptation import AdaptedExecutor
from nmbrl.runtime.planners.base import Planner, PlannerOptions
from nmbrl.runtime.planners.cem import CEM
from nmbrl.runtime.planners.mppi import MPPI
from nmbrl.runtime.planners.native import Native
from nmbrl.runtime.planners.policy import Policy
from nmbrl.runtime.planners.shooting import Shooting
from nmbrl.targets.c import CExecutor
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.interface import Executor

PLANNERS: dict[str, type[Planner]] = {"policy": Policy, "cem": CEM, "mppi": MPPI, "shooting": Shooting}

__all__ = [
    "CEM",
    "MPPI",
    "PLANNERS",
    "Native",
    "Planner",
    "PlannerOptions",
    "Policy",
    "Shooting",
    "make_options",
    "make_planner",
]


def make_planner(name: str, executor: Executor, adapt: bool | None = None, **options: Any) -> Planner:
    """Make a planner by name; its ``executor`` keeps the beliefs that it is to be given.

    A C bundle brings planners of its own, which choose what the device chooses.

    Args:
        name: one of `PLANNERS`.
        executor: what runs the model.
        adapt: whether a planner that imagines does so with a model that corrects itself to the plant while it runs
            (`nmbrl.runtime.adaptation`); None: unless the planner is a C bundle's own.
        **options: fields of `PlannerOptions`; None means the default.

    Raises:
        NmbrlError: if there is no such planner or option, or an option is out of range.
    """
    if name not in PLANNERS:
        raise NmbrlError(f"there is no planner {name!r}; choose from {', '.join(PLANNERS)}")
    chosen = make_options(**options)
    if isinstance(executor, CExecutor) and not adapt:
        return Native(executor, name, chosen)
    adapts = adapt is not False and PLANNERS[name] is not Policy
    return PLANNERS[name](AdaptedExecutor(executor) if adapts else executor, chosen)


def make_options(**options: Any) -> PlannerOptions:
    """Make planner options; None means the default.

    Raises:
        NmbrlError: if there is no such option, or one is out of range.
    """
    try:
        return PlannerOptions(**{option: value for option, value in options.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise NmbrlError(f"planner option {where or 'combination'}: {first['msg']}") from error
