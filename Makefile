# One command for each thing; `make setup` is called by the others.
PYTHON := $(shell for p in python3.12 python3.11 python3; do $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help setup demo test lint bench proofs kill kill-kafka outages clean

help: ## say what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

setup: $(VENV)/.ready ## make .venv with everything in it

$(VENV)/.ready: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "cityair needs Python 3.11 or 3.12 (Bytewax has no wheel for others); install one and run 'make setup' again" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "$(PYTHON) has no venv module; install it (on Debian: apt-get install python3-venv) and run 'make setup' again" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -c 'import flows.cli.run' # compiles what is compiled, once
	@touch $@

demo: setup ## play a day of the whole city, with no broker, and show what happened
	$(BIN)/cityair demo

test: setup lint ## run every check that CI runs
	$(BIN)/pytest -n 2 --dist loadfile

lint: setup ## style, types and the one way of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup ## measure the speed beside its peers and limits
	$(BIN)/python -m benchmarks all

proofs: setup ## kills, outages, broken lines and property tests at length: 45 minutes, and a table of what was run
	$(BIN)/python -m tests.chaos.proofs

kill: setup ## kill a run a hundred times and compare it with an undisturbed one
	$(BIN)/python -m tests.chaos.kill --kills 100

kill-kafka: setup ## the same through a real broker, while a producer writes
	$(BIN)/python -m tests.chaos.kafka_kill --kills 100

outages: setup ## what the flow does when the broker fails, loses or refuses something
	$(BIN)/python -m tests.chaos.outages

clean: ## remove what setup and the demo made
	rm -rf $(VENV) demo
