# nas_plugin: `make search` and `make test` need only Python, git and make.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
OUT ?= runs/digits
STAMP := $(VENV)/.installed
MINIMUM := .venv-minimum

SEARCH_ARGS ?= --data digits --channels 8 --layers 3 --nodes 3 --epochs 8 --learning-rate 0.1 \
	--arch-learning-rate 1e-2
RETRAIN_ARGS ?= --data digits --channels 12 --layers 4 --nodes 3 --epochs 14 --batch-size 64 \
	--learning-rate 0.1 --drop-path-prob 0 --aux-weight 0

MINUTES ?= 10
WORKERS ?= 2

# What third parties can break.
FAST := $(addprefix tests/,benchmarks choice commands data files operations profiling reporting \
	space strategies trainers/test_retrain.py trainers/test_inputs.py)

.PHONY: help search test test-slow test-minimum mutants check perf clean
.DEFAULT_GOAL := help

help:  ## Show this help
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

search: $(STAMP)  ## Search and retrain a network on real handwritten digits (minutes)
	rm -rf $(OUT)
	$(PY) examples/darts/search.py $(SEARCH_ARGS) --out $(OUT)
	$(PY) examples/darts/retrain.py $(RETRAIN_ARGS) --arc-checkpoint $(OUT)/architecture.json --out $(OUT)
	@echo
	@echo "Results were written to $(OUT):"
	@echo "  architecture.json        what was found; checkpoints/epoch_N.json: after every epoch"
	@echo "  cells/epoch_N.svg        drawings of the cell"
	@echo "  search.jsonl             the log; retrain.jsonl of the retraining"
	@echo "  model.pt                 the trained network"
	@echo "  $(VENV)/bin/tensorboard --logdir $(OUT)/tensorboard   shows the curves"

test: $(STAMP)  ## Run the test suite (WORKERS=2)
	$(PY) -m pytest -q -n $(WORKERS) --dist loadfile

test-slow: $(STAMP)  ## Run what takes long: kill games, hundreds of trials, real searches
	$(PY) -m pytest -q -m slow

mutants: $(STAMP)  ## Apply known mistakes one by one; every one must fail its test (MINUTES=10)
	$(PY) -m tests.mutations --minutes $(MINUTES) $(ONLY)

test-minimum:  ## Run the fast part with the declared minimum versions
	$(PYTHON) -m venv $(MINIMUM)
	$(MINIMUM)/bin/python -m pip install --quiet --disable-pip-version-check \
		-c constraints-minimum.txt -e '.[plots]' pytest
	$(MINIMUM)/bin/python -m pytest -q -m "not slow and not gpu and not processes" $(FAST)

check: $(STAMP)  ## ruff, mypy --strict, and the layer test
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy -p nas_plugin
	$(PY) -m pytest -q tests/test_layers.py

perf: $(STAMP)  ## Print the measurements in perf/ that take minutes
	$(PY) perf/search_step.py
	$(PY) perf/sampled_paths.py
	$(PY) perf/bench_table.py
	$(PY) perf/strategies.py
	$(PY) perf/experiment_rate.py

clean:  ## Remove the environment and what builds leave
	rm -rf $(VENV) $(MINIMUM) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
