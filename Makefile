# Everything here needs Python >= 3.11 and make, nothing else: each target does its own set-up in .venv/.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help demo up down test unit integration e2e promises check churn outages faults-metrika bench contracts format lock clean

VENV := .venv
BIN := $(VENV)/bin
# The first interpreter that is new enough; PYTHON=/path/to/python overrides it.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done)
SOURCES := schemas runtime producers streams sinks sandbox goalpost
ARGS ?=

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

demo: $(VENV)/.run ## See the whole journey on an embedded Kafka, registry and Postgres (ARGS="--once --json")
	@$(BIN)/goalpost demo $(ARGS)

up: $(VENV)/.run ## Start the stack and all services; addresses go to .goalpost/env; Ctrl-C stops everything
	@$(BIN)/goalpost up $(ARGS)

down: $(VENV)/.run ## Stop what `make up` started from another terminal
	@$(BIN)/goalpost down $(ARGS)

test: $(VENV)/.dev ## Run all tests, also against real stacks, in two processes (ARGS="-k name"; ARGS="-n 0 -s" to look on)
	@$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

unit: $(VENV)/.dev ## The tests that need no network and no stack
	@$(BIN)/python -m pytest -n 2 tests/unit $(ARGS)

integration: $(VENV)/.dev ## One part at a time against the real Kafka, registry and Postgres
	@$(BIN)/python -m pytest -n 2 --dist loadfile -m "not promise" tests/integration $(ARGS)

e2e: $(VENV)/.dev ## The whole pipeline from outside
	@$(BIN)/python -m pytest -n 2 --dist loadfile -m "not promise" tests/e2e $(ARGS)

promises: $(VENV)/.dev ## Kills, churn, faults and outages, then every event is counted (ARGS="--promise-seed 7")
	@$(BIN)/python -m pytest -n 2 --dist loadfile -m promise $(ARGS)

check: $(VENV)/.dev ## Formatting, lint, types, import arrows, dead code, promises to other teams
	@$(BIN)/ruff format --check $(SOURCES) tests tools
	@$(BIN)/ruff check $(SOURCES) tests tools
	@$(BIN)/mypy $(SOURCES) tests tools
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/vulture
	@$(BIN)/python -m goalpost.contracts check
	@echo "check: clean"

churn: $(VENV)/.dev ## Stop and kill join workers and Kafka at random, then count every event (ARGS="--rounds 5 --seed 7 --control")
	@$(BIN)/python -m tests.churn $(ARGS)

outages: $(VENV)/.dev ## Freeze and kill Kafka under a whole pipeline, say who came back when (ARGS="--freezes 2 --kills 1 --seed 7")
	@$(BIN)/python -m tests.outages $(ARGS)

faults-metrika: $(VENV)/.dev ## Let every fault meet 1 000 uploads, count each row, write docs/metrika-faults.md (ARGS="--only kill")
	@$(BIN)/python -m tests.faults $(ARGS)

bench: $(VENV)/.dev ## Measure door, join, sink and end to end against references (ARGS="--only join --json")
	@$(BIN)/python -m tests.bench $(ARGS)

contracts: $(VENV)/.dev ## Write asyncapi.yaml from schemas/
	@$(BIN)/python -m goalpost.contracts write

format: $(VENV)/.dev ## Let ruff put the sources in order
	@$(BIN)/ruff check --fix-only --quiet $(SOURCES) tests
	@$(BIN)/ruff format $(SOURCES) tests

# run.txt is what production needs, build.txt makes the wheel, sandbox.txt adds the embedded stack, dev.txt the tools.
COMPILE := uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-emit-find-links --no-header --no-annotate -c requirements/run.txt

lock: ## Resolve the dependencies again (maintainers; needs uv)
	@touch requirements/run.txt
	$(COMPILE) pyproject.toml -o requirements/run.txt
	$(COMPILE) --group build -o requirements/build.txt
	$(COMPILE) pyproject.toml --extra sandbox --group build -o requirements/sandbox.txt
	$(COMPILE) pyproject.toml --extra sandbox --extra dev --group build -c requirements/sandbox.txt -o requirements/dev.txt

clean: ## Remove .venv and what the sandbox has stored here
	rm -rf $(VENV) .goalpost

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "goalpost needs Python 3.11 or newer; install it, or say PYTHON=/path/to/python"; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.run: requirements/sandbox.txt pyproject.toml | $(BIN)/python
	@echo "Installing goalpost into $(VENV) (once; about a minute)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/sandbox.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.run
	@echo "Installing the tools for tests and checks into $(VENV) (once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@
