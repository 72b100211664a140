# Everything a fresh machine needs is Python 3.11+, git and make: `make tui` to run, `make test` to test.
# uv is used when it is there, else it is installed into the project's own .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NEWEST := .venv-newest
UV := $(shell command -v uv 2>/dev/null || echo $(BIN)/uv)
PIP_INSTALL = $(UV) pip install --quiet --python $(BIN)/python --constraint constraints.txt
# Each of the hundreds of processes that tests start would compile dspy and fleet-rlm again: 1.4 s of a core.
unexport PYTHONDONTWRITEBYTECODE
ARGS ?=
JOBS ?= auto
# What starts no engine, sandbox, screen or server of Modal's: reading documents, run files, tasks, and the small parts.
QUICK := $(addprefix tests/,documents runs tasks corpora scaffold) $(patsubst %,tests/test_%.py,architecture config docs \
  events log_text project replies screen_text state syntax whole_file)

.DEFAULT_GOAL := help
.PHONY: help tui sync sync-dev test test-quick test-newest lint format check release-check notebook precommit-install precommit-run bench screenshots clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

tui: $(VENV)/.base ## Set up if needed and start the app (ARGS="--demo" plays the bundled document)
	@$(BIN)/fleet-rlm-tui $(ARGS)

test: $(VENV)/.test ## Run the tests
	@$(BIN)/python -m pytest --numprocesses $(JOBS) --maxprocesses 4 --dist worksteal $(ARGS)

test-quick: $(VENV)/.test ## Run the tests that start no engine, sandbox or screen: before each commit
	@$(BIN)/python -m pytest --numprocesses $(JOBS) --maxprocesses 4 --dist worksteal $(QUICK) $(ARGS)

test-newest: $(VENV)/.test ## Test the way to Modal with the newest client that our range allows
	@$(UV) venv --quiet --allow-existing --python $(BIN)/python $(NEWEST)
	@$(UV) pip install --quiet --upgrade --python $(NEWEST)/bin/python --editable . --group test
	@$(NEWEST)/bin/python -c 'import importlib.metadata as m; print("modal", m.version("modal"))'
	@$(NEWEST)/bin/python -m pytest --numprocesses $(JOBS) --maxprocesses 4 tests/sandbox/modal tests/cli/test_run_on_modal.py $(ARGS)

lint: $(VENV)/.dev ## Ruff, mypy (strict) and the architecture's import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev ## Format the code and fix what ruff can fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

check: lint test ## Lint, then test

release-check: $(VENV)/.release lint test ## Check everything, build, and use the wheel in an empty environment
	@$(BIN)/python scripts/release_check.py

precommit-install: $(VENV)/.dev ## Check each commit before it is made
	@$(BIN)/pre-commit install

precommit-run: $(VENV)/.dev ## What a commit is checked for, over all files
	@$(BIN)/pre-commit run --all-files

bench: $(VENV)/.test ## Measure, and print tables with ratios against a peer in the same run (ARGS="engine runs")
	@$(BIN)/python bench/run.py $(ARGS)

notebook: $(VENV)/.notebook ## Open the notebook in a browser
	@$(BIN)/jupyter lab notebooks/rlm-with-fleet-rlm.ipynb $(ARGS)

screenshots: $(VENV)/.test ## Make the README's pictures again from real screens
	@$(BIN)/python scripts/screenshots.py

sync: $(VENV)/.base ## Install what the app needs into .venv
sync-dev: $(VENV)/.dev ## Install what developers need into .venv

clean: ## Remove the environment and what tools left behind
	rm -rf $(VENV) $(NEWEST) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "fleet-rlm needs Python 3.11 or newer; $(PYTHON) is older. Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	@if command -v uv >/dev/null 2>&1; then uv venv --quiet --python "$$(command -v $(PYTHON))" $(VENV); \
	  else $(PYTHON) -m venv $(VENV) && $(BIN)/python -m pip install --quiet --disable-pip-version-check uv; fi

$(VENV)/.base: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "Installing fleet-rlm into $(VENV) …" >&2
	@$(PIP_INSTALL) --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.base
	@$(PIP_INSTALL) --group test
	@touch $@

$(VENV)/.notebook: $(VENV)/.base
	@$(PIP_INSTALL) --group notebook --group lab
	@touch $@

$(VENV)/.dev: $(VENV)/.test
	@$(PIP_INSTALL) --group dev
	@touch $@

$(VENV)/.release: $(VENV)/.dev
	@$(PIP_INSTALL) --group release
	@touch $@
