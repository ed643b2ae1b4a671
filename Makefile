# `make` prints the targets. Nothing but Python >= 3.11 with venv and a package registry is needed; a C compiler is used where there is one.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help demo test check format kernel smoke peers demo-bundle requirements clean

help: ## Print the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /|/' | awk -F'|' '{printf "  make %-14s %s\n", $$1, $$2}'

demo: $(VENV)/serve.stamp ## Serve the built-in demo bundle on http://127.0.0.1:8000
	@unset RECOSERVE_NO_KERNEL; $(BIN)/recoserve demo # the build's, and no setting of the service

test: $(VENV)/test.stamp ## Run the whole suite (installs torch and keras)
	$(BIN)/python -m pytest --numprocesses 2

check: $(VENV)/test.stamp ## Lint, formatting and strict types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/test.stamp ## Format the code
	$(BIN)/ruff check --fix --quiet .
	$(BIN)/ruff format .

kernel: $(VENV)/bin/python ## Compile the kernel again, in place
	$(PIP) install --quiet --no-deps --editable .

smoke: ## Bring compose up, ask, scrape, take it down (needs docker)
	bash deploy/smoke.sh

peers: $(VENV)/bin/python ## Install the peers that `recoserve bench` can compare with, under build/peers
	$(BIN)/python -m recoserve_bench.peers.install

demo-bundle: $(VENV)/test.stamp ## Make the demo's bundle again: data, training, export
	rm -rf build/library service/recoserve/demo/bundle
	$(BIN)/python -m recoserve.demo.library build/library
	$(BIN)/recoserve train --ratings build/library/ratings.csv --items build/library/books.csv \
		--architecture torch-dot --dim 24 --temperature 0.3 --name library -o service/recoserve/demo/bundle

requirements: COMPILE = $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links \
	--no-header --python-version 3.11 --upgrade
requirements: $(VENV)/test.stamp ## Pin the serving image's packages again, and those that build it, with hashes
	$(BIN)/pip install --quiet uv
	$(COMPILE) pyproject.toml -o requirements/serve.txt
	printf 'hatchling\nziglang\n' | $(COMPILE) - -o requirements/build.txt

clean: ## Remove the environment and what was built
	rm -rf $(VENV) build dist service/recoserve/search/kernel/*.so

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "recoserve needs Python 3.11 or newer; try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# Serving needs the pinned packages alone: no torch, no keras.
$(VENV)/serve.stamp: requirements/serve.txt pyproject.toml hatch_build.py $(wildcard service/recoserve/search/kernel/*.[ch]) | $(VENV)/bin/python
	$(PIP) install --quiet --require-hashes -r requirements/serve.txt
	$(PIP) install --quiet --no-deps --editable .
	@touch $@

$(VENV)/test.stamp: $(VENV)/serve.stamp
	$(PIP) install --quiet --editable '.[test]'
	@touch $@
