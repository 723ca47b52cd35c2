# make help lists what there is. VENV, PYTHON and TORCH_INDEX can be set: make demo VENV=../r1-venv PYTHON=python3.12
.DEFAULT_GOAL := help
.PHONY: help demo demo-zero install dev test test-slow test-all mutants check format clean
SHELL := /bin/bash

VENV ?= .venv
BIN := $(VENV)/bin
# CPU wheels where there is no NVIDIA driver (two gigabytes less); TORCH_INDEX= (empty) asks the default index alone.
# That index is asked for torch only: everything else, torch's own dependencies too, comes from the default one.
TORCH_INDEX ?= $(if $(shell command -v nvidia-smi 2>/dev/null),,https://download.pytorch.org/whl/cpu)
# Byte code is written at first import instead of at installation: a quarter of the time and 275 MB less. Where
# PYTHONDONTWRITEBYTECODE forbids that, as many containers do, it is written here: else every start compiles again
# (what cannot be compiled, such as templates that only look like Python, is left).
COMPILE := $(if $(PYTHONDONTWRITEBYTECODE),$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true)
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt
OFFLINE := HF_HUB_OFFLINE=1 WANDB_MODE=offline TOKENIZERS_PARALLELISM=false

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */\1\t/' | awk -F'\t' '{printf "  make %-10s %s\n", $$1, $$2}'

demo: $(VENV)/.core  ## R1 in small: base, R1-Zero, every later stage, the ledger and a report; started again it goes on
	$(OFFLINE) $(BIN)/r1 demo

demo-zero: $(VENV)/.core  ## its first chapter: a tiny base model, then R1-Zero on it
	$(OFFLINE) $(BIN)/r1 demo --until r1_zero

install: $(VENV)/.core  ## what demo needs, in .venv
dev: $(VENV)/.dev  ## what test and check need

test: $(VENV)/.dev  ## the fast tests; ARGS="tests/rewards -k format" for a part of them
	$(OFFLINE) $(BIN)/python -m pytest $(ARGS)

test-slow: $(VENV)/.dev  ## the slow tests alone
	$(OFFLINE) $(BIN)/python -m pytest -m slow $(ARGS)

test-all: $(VENV)/.dev  ## every test
	$(OFFLINE) $(BIN)/python -m pytest -m 'slow or not slow' $(ARGS)

mutants: $(VENV)/.dev  ## plant the classic bugs one by one: every one must turn a test red
	$(OFFLINE) $(BIN)/python tests/mutants.py
	$(OFFLINE) $(BIN)/python -m pytest -m 'slow or not slow' tests/kernels/test_planted_bugs.py

check: $(VENV)/.dev  ## lint, format, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev  ## put the format right, and what lint can repair
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove caches and built packages; runs/ and .venv stay
	rm -rf build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find r1 kernels tests -name __pycache__ -prune -exec rm -rf {} +

$(BIN)/python:
	@for python in $(PYTHON) python3.11 python3; do \
	  if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "setting up $(VENV) with $$python"; exec $$python -m venv $(VENV); \
	  fi; \
	done; \
	echo "r1 needs Python 3.11 or newer; neither python3.11 nor python3 is one. Install it, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python" >&2; exit 1

$(VENV)/.core: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --no-deps torch $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
	$(PIP) --editable .
	$(COMPILE)
	@touch $@

$(VENV)/.dev: $(VENV)/.core
	$(PIP) --editable '.[dev]'
	$(COMPILE)
	@touch $@
