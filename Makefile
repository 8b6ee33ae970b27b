# Each target works alone on a fresh clone: `make demo` and `make test` set the environment up first.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
WORKERS ?= 2

.PHONY: setup demo report test lint types bench docs clean
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

# The example report in docs/: a row a bundle or board, NAME=PATH; how each bundle is converted stands below.
EXAMPLE := examples/cartpole-swingup
MADE := build/report
ROWS := "PyTorch float32=$(EXAMPLE)" "ONNX float32=$(MADE)/onnx" "TFLM int8=$(MADE)/tflite" "C int8=$(MADE)/c" \
	"C on Cortex-M4=$(MADE)/mps2-an386.json" "C on Cortex-M7=$(MADE)/mps2-an500.json" \
	"C on Cortex-M55=$(MADE)/mps3-an547.json" "Loihi sigma-delta=$(MADE)/loihi" \
	"Loihi LIF=$(MADE)/lif"
BUNDLES := onnx tflite c loihi lif
BOARDS := mps2-an386 mps2-an500 mps3-an547
CONVERT_onnx := $(EXAMPLE) --target onnx
CONVERT_tflite := $(EXAMPLE) --target tflite --sensitivity
CONVERT_c := $(MADE)/tflite --target c
CONVERT_loihi := $(EXAMPLE) --target loihi
CONVERT_lif := $(EXAMPLE) --target loihi --method lif
FAULTS := loss=0.01,bitflip=3e-5,reset=1e-4

# Bundles and boards' records that are there are kept: remove build/report to make them anew.
report: $(BUNDLES:%=$(MADE)/%/bundle.json) $(BOARDS:%=$(MADE)/%.json)
	$(BIN)/nmbrl-report $(ROWS) --keep $(MADE)/keep \
		--out docs/example-report.html --json docs/example-report.json --markdown docs/example-report.md

$(MADE)/c/bundle.json: $(MADE)/tflite/bundle.json

$(MADE)/%/bundle.json: | $(STAMP)
	$(BIN)/nmbrl-convert $(CONVERT_$*) --out $(MADE)/$*

$(MADE)/%.json: $(MADE)/c/bundle.json
	$(BIN)/nmbrl-hil $(MADE)/c --board qemu:$* --profile --episodes 20 --faults $(FAULTS) --json $@

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# mypy finds packages by folder: give it the import package as links to the folders.
types: $(STAMP)
	mkdir -p build/typing/nmbrl
	for folder in train convert targets runtime hil; do ln -sfn ../../../$$folder build/typing/nmbrl/$$folder; done
	MYPYPATH=build/typing $(BIN)/mypy -p nmbrl

# A file's tests stay together, as they share what it takes long to make.
test: lint types
	$(BIN)/pytest --numprocesses $(WORKERS) --dist loadfile

# Trainings that are finished are kept: remove benchmarks/results to measure anew.
bench: $(STAMP) $(MADE)/lif/bundle.json
	$(BIN)/python benchmarks/learning_curves.py
	$(BIN)/python benchmarks/planners.py
	$(BIN)/python benchmarks/c_runtime.py examples/cartpole-swingup
	$(BIN)/python benchmarks/int8.py
	$(BIN)/python benchmarks/wire.py examples/cartpole-swingup
	$(BIN)/python benchmarks/loihi_simulator.py
	$(BIN)/python benchmarks/loihi_decision.py examples/cartpole-swingup
	$(BIN)/python benchmarks/loihi_equality.py --example examples/cartpole-swingup
	$(BIN)/python benchmarks/loihi_nir.py $(MADE)/lif

# The site opens from the disk: build/site/index.html. Its notice about a successor says nothing about this build.
docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

clean:
	rm -rf $(VENV) build dist *.egg-info demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
