# Everything runs in .venv with the locked dependencies; the first target that needs it makes it.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo up test lint unit faults bench chaos kills audit lock clean

demo: .venv/ready
	@$(BIN)/dunlin demo

up: .venv/ready
	@$(BIN)/dunlin up

test: lint unit

lint: .venv/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/dunlin templates check

unit: .venv/ready
	rm -f .coverage .coverage.*
	$(BIN)/pytest -n 2 --dist worksteal --cov --cov-report=

faults: .venv/ready
	$(BIN)/pytest -n 2 --dist worksteal tests/faults

# Each writes into build/bench.json; the report reads it and writes docs/bench.md.
SCALE ?= 100000
RECEIPTS ?= 5000
bench: .venv/ready
	rm -f build/bench.json
	$(BIN)/python tests/bench/rules.py
	$(BIN)/python tests/bench/plan.py --scale $(SCALE)
	$(BIN)/python tests/bench/curve.py --scale $(SCALE)
	$(BIN)/python tests/bench/steps.py
	$(BIN)/python tests/bench/pipeline.py
	$(BIN)/python tests/bench/whole.py --scale $(SCALE)
	$(BIN)/python tests/bench/hosts.py
	$(BIN)/python tests/bench/receipts.py --receipts $(RECEIPTS)
	$(BIN)/python tests/bench/report.py

# Known vulnerabilities in what is locked; asks the index, and so needs a network.
audit: .venv/ready
	$(BIN)/pip-audit --disable-pip --require-hashes --requirement requirements.lock --progress-spinner off
	$(BIN)/pip-audit --disable-pip --require-hashes --requirement requirements-dev.lock --progress-spinner off

SECONDS ?= 300
SEED ?= $(shell date +%s)
chaos: .venv/ready
	$(BIN)/python -m tests.faults.chaos --seconds $(SECONDS) --seed $(SEED)

KILLS ?= 200
kills: .venv/ready
	$(BIN)/pytest -q --timeout 3600 tests/faults/test_kills.py --kills $(KILLS)

# The locks name versions and hashes and no index: they install from whichever one pip is set up for.
COMPILE := $(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --no-strip-extras --no-emit-index-url \
	--no-emit-find-links --no-header
lock: .venv/ready
	$(COMPILE) --extra sandbox --output-file requirements.lock pyproject.toml
	$(COMPILE) --extra dev --extra local --constraint requirements.lock --output-file requirements-dev.lock pyproject.toml
	$(COMPILE) --only-build-deps --build-deps-for wheel --constraint requirements-dev.lock \
		--output-file requirements-build.lock pyproject.toml

.venv/ready: requirements-dev.lock pyproject.toml
	@echo "Setting up .venv with the locked dependencies; this is done once and takes a minute"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=...")'
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

clean:
	rm -rf .venv build dist .dunlin .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
