# Everything a newcomer needs; `make` alone prints this list. Needs python3 (3.11 or newer) and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEV := $(VENV)/.dev

help:  ## Print this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

env: $(READY)  ## Make the virtual environment in .venv, to use tracedge (torch: the CPU build that the constraints name)

dev: $(DEV)  ## The same with all that tests, documents and checks need

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[figures]'
	touch $(READY)

$(DEV): $(READY)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $(DEV)

demo: env  ## Instance edges of a real photo, offline: edges, overlay and attention picture in out/demo
	$(BIN)/python examples/demo.py out/demo

test: dev  ## The tests, without the slow ones
	$(BIN)/python -m pytest

test-slow: dev  ## The slow tests alone: kills at random moments, a cluster, a browser, the documents
	$(BIN)/python -m pytest -m slow

docs: dev  ## The documents as a site, in out/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build

screenshots: dev  ## The pictures of the page in docs/pictures, taken anew (needs chromium)
	TRACEDGE_SCREENSHOTS=docs/pictures $(BIN)/python -m pytest -m slow -rs tests/test_app_screenshots.py

fuzz: dev  ## Damage every file that is read, guided by coverage, 45 seconds a reader (Linux)
	$(BIN)/python -m fuzz all --seconds 45

check: dev  ## Lint, format and types
	$(BIN)/ruff check src tests examples integrations fuzz
	$(BIN)/ruff format --check src tests examples integrations fuzz
	$(BIN)/mypy

clean:  ## Remove the environment and outputs
	rm -rf $(VENV) out build .pytest_cache .hypothesis .mypy_cache .ruff_cache

.PHONY: help env dev demo test test-slow screenshots fuzz docs check clean
.DEFAULT_GOAL := help
