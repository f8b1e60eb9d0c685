# Every target sets up what it needs; a second run costs nothing.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOCKED := $(VENV)/.locked
CLUSTER ?= default

# Progress appears at once, also when the output is a file or a pipe.
export PYTHONUNBUFFERED := 1

GUIDELLM := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/inference-platform/guidellm

.PHONY: help setup tools guidellm demo test test-every test-fast lint bench local-up local-down local-status local-kubeconfig lock clean

help: ## Show this help
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(LOCKED) ## Create .venv with the locked dependencies

$(LOCKED): requirements.lock pyproject.toml
	@echo "Setting up $(VENV) from requirements.lock"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, found " + sys.version.split()[0] + ": run make PYTHON=python3.11")'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

tools: $(LOCKED) ## Build the programs of the embedded cluster (once, then cached)
	@$(BIN)/python -m embedded_cluster build

guidellm: ## Install GuideLLM for playbooks/benchmark.yml (once, 430 MB)
	@cmp -s requirements-guidellm.lock $(GUIDELLM)/.locked || { \
	  echo "Installing GuideLLM in $(GUIDELLM)" \
	  && $(PYTHON) -m venv --clear $(GUIDELLM) \
	  && $(GUIDELLM)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
	    -r requirements-guidellm.lock \
	  && cp requirements-guidellm.lock $(GUIDELLM)/.locked; }

demo: $(LOCKED) ## From nothing to an answer of a model: embedded cluster, site.yml, report, a completion
	@$(BIN)/python -m embedded_cluster up --name $(CLUSTER)
	@EMBEDDED_CLUSTER=$(CLUSTER) $(BIN)/ansible-playbook -i inventories/local site.yml
	@$(BIN)/python -m embedded_cluster ask --name $(CLUSTER)

test: $(LOCKED) guidellm ## Run all tests: lint, unit, rendered objects, scenarios on embedded clusters
	@$(MAKE) --no-print-directory lint
	@$(BIN)/python -m embedded_cluster build
	@$(BIN)/python -m pytest tests -m "not combination"

test-every: $(LOCKED) ## Run the few long tests that make test leaves out
	@$(BIN)/python -m embedded_cluster build
	@$(BIN)/python -m pytest tests -m combination

test-fast: $(LOCKED) ## Run the tests that need no cluster
	@$(BIN)/python -m pytest tests/unit tests/rendered

lint: $(LOCKED) ## ruff, mypy, yamllint, ansible-lint
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy src
	@$(BIN)/yamllint .
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/ansible-lint --offline

bench: $(LOCKED) ## Measure against the plainest shell script; table and build/bench.json
	@$(BIN)/python -m embedded_cluster build
	@$(BIN)/python -m benchmarks

local-up: $(LOCKED) ## Start the embedded cluster
	@$(BIN)/python -m embedded_cluster up --name $(CLUSTER)

local-down: $(LOCKED) ## Stop the embedded cluster and remove its data
	@$(BIN)/python -m embedded_cluster down --name $(CLUSTER)

local-status: $(LOCKED) ## Show what runs in the embedded cluster
	@$(BIN)/python -m embedded_cluster status --name $(CLUSTER)

local-kubeconfig: $(LOCKED) ## Print the path of the embedded cluster's kubeconfig
	@$(BIN)/python -m embedded_cluster kubeconfig --name $(CLUSTER)

lock: $(LOCKED) ## Resolve the dependencies again and rewrite the lock files
	@$(PYTHON) -m venv build/lock && build/lock/bin/pip install --quiet uv
	@build/lock/bin/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --upgrade --no-annotate \
	  --no-header --no-emit-index-url --extra local --extra test --extra build pyproject.toml -o requirements.lock
	@build/lock/bin/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --upgrade --no-annotate \
	  --no-header --no-emit-index-url requirements-go.in -o requirements-go.lock
	@build/lock/bin/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --upgrade --no-annotate \
	  --no-header --no-emit-index-url requirements-guidellm.in -o requirements-guidellm.lock

clean: ## Remove what this checkout made (not the cache)
	@rm -rf $(VENV) build .ansible
