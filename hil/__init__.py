"""Hardware in the loop: the wire, links, boards and firmware that put a model's controller on a microcontroller."""

from nmbrl.hil.evaluation import BoardEvaluation, Setting
from nmbrl.hil.session import run_on_board

__all__ = ["BoardEvaluation", "Setting", "run_on_board"]
