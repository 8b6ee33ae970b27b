# Each target works alone on a fresh clone: `make demo` and `make test` set the environment up first.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: setup demo test lint types bench clean
.DELETE_ON_ERROR:

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt tools/setup.sh
	bash tools/setup.sh $(PYTHON) $(VENV)
	touch $@

# A finished demo/run is kept: the second time only what is missing is made.
demo: $(STAMP)
	$(BIN)/nmbrl-train --preset cartpole-swingup --seed 0 --out demo/run --resume
	for target in onnx tflite c loihi; do $(BIN)/nmbrl-convert demo/run --target $$target --out demo/$$target || exit; done
	for model in run onnx tflite c loihi; do $(BIN)/nmbrl-run demo/$$model --episodes 20 --json demo/$$model.json || exit; done
	$(BIN)/nmbrl-report demo/run demo/onnx demo/tflite demo/c demo/loihi --out demo/report.html --json demo/report.json

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# mypy finds packages by folder: give it the import package as links to the folders.
types: $(STAMP)
	mkdir -p build/typing/nmbrl
	for folder in train convert targets runtime hil; do ln -sfn ../../../$$folder build/typing/nmbrl/$$folder; done
	MYPYPATH=build/typing $(BIN)/mypy -p nmbrl

test: lint types
	$(BIN)/pytest

# Trainings that are finished are kept: remove benchmarks/results to measure anew.
bench: $(STAMP)
	$(BIN)/python benchmarks/learning_curves.py
	$(BIN)/python benchmarks/planners.py
	$(BIN)/python benchmarks/c_runtime.py examples/cartpole-swingup
	$(BIN)/python benchmarks/int8.py
	$(BIN)/python benchmarks/wire.py examples/cartpole-swingup
	$(BIN)/python benchmarks/loihi_simulator.py
	$(BIN)/python benchmarks/loihi_decision.py examples/cartpole-swingup
	$(BIN)/python benchmarks/loihi_equality.py --example examples/cartpole-swingup

clean:
	rm -rf $(VENV) build dist *.egg-info demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
