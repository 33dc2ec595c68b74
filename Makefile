# kubemu: `make demo` and `make test` set everything up by themselves; `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := broker cluster agents scenarios

.DEFAULT_GOAL := help
.PHONY: help demo test check lint format types imports unit services compose bench facts clean

help:  ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | sort | expand -t 12

# Debian's Python comes without ensurepip unless python3-venv is there: then the system's pip installs from outside.
PIP = $$(test -x $(BIN)/pip && echo $(BIN)/pip || echo $(PYTHON) -m pip --python $(BIN)/python)
INSTALL = $(PIP) install --quiet --disable-pip-version-check --editable

$(BIN)/kubemu: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || $(PYTHON) -m venv --without-pip $(VENV)
	@echo "setting up $(VENV) …"
	@$(INSTALL) .
	@touch $@

$(VENV)/.dev: $(BIN)/kubemu
	@echo "setting up the tools for development …"
	@$(INSTALL) '.[dev]'
	@touch $@

demo: $(BIN)/kubemu  ## a cluster of real processes loses a node and heals
	@$(BIN)/kubemu run scenarios/node-failure.yaml

test: $(VENV)/.dev  ## the tests that need nothing but Python
	$(BIN)/pytest -n 2 -m 'not services and not compose'

check: lint types imports test  ## everything that has to hold before a commit

lint: $(VENV)/.dev  ## ruff: errors and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.dev  ## let ruff put the format right
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/.dev  ## mypy, strict
	$(BIN)/mypy

imports: $(VENV)/.dev  ## who may import whom
	$(BIN)/lint-imports

services: $(VENV)/.dev  ## tests with real processes and real brokers
	$(BIN)/pytest -m 'services'  # one after the other: each starts processes that want both cores

compose: $(VENV)/.dev  ## tests with docker compose
	$(BIN)/pytest -m 'compose'

bench: $(VENV)/.dev  ## measure, beside the reference figures
	$(BIN)/python -m tests.bench

facts: $(VENV)/.dev  ## generate the tables of API types anew, from packages of the emulated release
	$(PIP) install --quiet --disable-pip-version-check --ignore-requires-python --no-deps helm-sdkpy==0.1.32
	$(BIN)/python -m cluster.api.generate
	$(BIN)/python -m cluster.server.http.protobuf.generate

clean:  ## remove what the set-up made
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
