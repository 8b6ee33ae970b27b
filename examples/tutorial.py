"""From a Gymnasium environment that nmbrl has no settings for to a controller on an emulated Cortex-M7."""

import argparse
from pathlib import Path

from nmbrl.convert import convert
from nmbrl.hil import Setting, run_on_board
from nmbrl.runtime.evaluation import evaluate
from nmbrl.targets import load
from nmbrl.train import TrainingConfig, train

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--frames", type=int, default=4000, help="physics steps to learn from")
parser.add_argument("--out", type=Path, default=Path("runs/tutorial"), help="directory of the run and its bundle")
arguments = parser.parse_args()
if arguments.frames < 4:
    parser.error("--frames: at least 4, of which the first is random")
run, bundle = arguments.out / "run", arguments.out / "c"

# Pendulum-v1: a torque swings up a pole; each of 200 steps costs up to 16.3, upright and at rest nothing. A decision
# lasts two steps. The first quarter of the frames is random; then policy and value learn inside the world model.
frames = arguments.frames
config = TrainingConfig(env="Pendulum-v1", action_repeat=2, terminates=False, frames=frames, random_frames=frames // 4)
train(config, run)

# int8 weights and activations in C99 without malloc, compared with TensorFlow Lite Micro bit for bit on the way.
convert(run, "c", bundle, progress=print)

# The same 20 episodes in PyTorch and in C on this machine.
for path in (run, bundle):
    print(f"{path}: mean return {evaluate(load(path), episodes=20).returns.mean():.1f}")

# Firmware is built, QEMU emulates the board, and the pendulum here asks it for every action over a serial line.
result = run_on_board(bundle, "qemu:mps2-an500", Setting(episodes=3))
figures = result.to_json()
print(f"on the board: returns {[round(total, 1) for total in figures['returns']]}")
print(f"{figures['instructions']['decision']['mean']:,.0f} instructions a decision")
