"""`pip install .` without extras brings the deploy side alone: proved in a clean environment."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
UV = [sys.executable, "-m", "uv"]
ABSENT = ("torch", "jax", "lava", "tflite_micro", "onnx", "stable_baselines3")


@pytest.fixture(scope="module")
def deploy_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a new virtual environment that holds a wheel of nmbrl without extras."""
    folder = tmp_path_factory.mktemp("deploy")
    python = folder / "venv" / "bin" / "python"

    def run(*command: str | Path) -> None:
        done = subprocess.run([*map(str, command)], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    run(*UV, "build", "--quiet", "--wheel", "--out-dir", folder / "dist", ROOT)
    run(*UV, "venv", "--quiet", "--python", sys.executable, folder / "venv")
    wheel = next((folder / "dist").glob("nmbrl-*.whl"))
    run(*UV, "pip", "install", "--quiet", "--python", python, "--constraint", ROOT / "constraints.txt", wheel)
    return python


def test_deploy_side_has_no_training_packages(deploy_python: Path) -> None:
    script = f"""
import importlib.util
present = [name for name in {ABSENT!r} if importlib.util.find_spec(name)]
assert not present, present
import nmbrl.targets, nmbrl.runtime.environment
"""
    done = subprocess.run([deploy_python, "-c", script], capture_output=True, text=True, cwd=deploy_python.parent)
    assert done.returncode == 0, done.stderr


def test_deploy_side_says_what_a_run_needs(deploy_python: Path, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("{}")
    script = "import sys; from nmbrl.targets import load; load(sys.argv[1])"
    done = subprocess.run([deploy_python, "-c", script, tmp_path], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1
    assert "needs PyTorch: pip install 'nmbrl[train]'" in done.stderr


def test_templates_are_installed(deploy_python: Path) -> None:
    script = """
from importlib.resources import files
import nmbrl.runtime.report
names = ("report.html", "macros.html", "report.css", "report.js")
missing = [n for n in names if not (files(nmbrl.runtime.report) / "templates" / n).is_file()]
assert not missing, missing
"""
    done = subprocess.run([deploy_python, "-c", script], capture_output=True, text=True, cwd=deploy_python.parent)
    assert done.returncode == 0, done.stderr
