"""Runs opened as executors; `nmbrl.targets.load` finds this through the package's entry point."""

from pathlib import Path

from nmbrl.train.deployed import TorchExecutor
from nmbrl.train.run import frames_trained, open_run


def load_executor(path: str | Path) -> TorchExecutor:
    """Open a run and execute its kept policy in PyTorch.

    Raises:
        NmbrlError: if the run is damaged or unfinished.
    """
    run = open_run(path)
    executor = TorchExecutor(run.model)
    executor.provenance = {"run": run.id, "seed of the training": str(run.seed)}
    trained = frames_trained(run)
    if trained is not None:
        executor.provenance["frames trained"] = f"{trained:,}"
    return executor
