# Needs only make and Python 3.11 or newer; everything else goes into .venv.

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$python; break; }; done)
TORCH := $(shell sed -n 's/^torch==//p' constraints.txt)
LIBRARY := samgeo/models/compiled/steps.so
BENCHMARKS := $(filter-out benchmarks/_%,$(wildcard benchmarks/*.py))

# One thread for each test process: together they use every core once.
PYTEST ?= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --maxprocesses 8

# In one process, so that JupyterLab starts once, and alone: a browser, a server and a kernel are at work together.
BROWSER_PYTEST ?= OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/browser

.DEFAULT_GOAL := help
.PHONY: help demo test lint docs check-docs check-tests pictures notebooks bench bench-quick qgis-plugin gpu-pack gpu-kit clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' Makefile $(if $(BENCHMARKS),,| grep -v '^make bench')

demo: $(VENV)/.package ## find the buildings of a generated town, then everything; writes demo/
	$(BIN)/samgeo demo

test: lint check-docs check-tests ## everything that CI checks

check-tests: $(VENV)/.test ## the tests alone
	$(PYTEST) --ignore=tests/browser
	$(BROWSER_PYTEST)

lint: $(VENV)/.test ## style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.test ## the manual; writes site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

# The manual must build without a warning; the result is thrown away.
check-docs: $(VENV)/.test
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet --site-dir "$$folder"

# All of them from generated scenes, in some ten minutes; the map needs Chromium. PICTURES="find.jpg track.jpg" makes only these.
pictures: $(VENV)/.test ## the pictures of the manual; writes docs/images
	$(BIN)/python docs/pictures $(PICTURES)

notebooks: $(VENV)/.test ## run the notebooks and store their outputs
	$(BIN)/python notebooks/execute.py $(NOTEBOOKS)

ifneq ($(BENCHMARKS),)
bench: $(VENV)/.test ## time and memory; writes build/benchmarks/
	$(BIN)/python benchmarks/run.py

bench-quick: $(VENV)/.test ## the same on small scenes, some two minutes
	$(BIN)/python benchmarks/run.py --quick
endif

# Needs only Python.
qgis-plugin: ## the plugin for QGIS; writes build/samgeo_qgis.zip
	@$(PYTHON) qgis-plugin/pack_plugin.py build/samgeo_qgis.zip

# For a machine with a GPU and without network; docs/training.md has the whole procedure. build/ is ignored by git: the pack
# holds data, which must not be committed.
PACK := build/gpu-pack.tar
WHEELS ?= kit
SCENES ?= 40
gpu-pack: $(VENV)/.test ## pictures and wheels for gpu-kit, from SAMGEO_DATA; writes build/gpu-pack.tar
	$(BIN)/python benchmarks/gpu/pack.py --output $(PACK) --wheels $(WHEELS) --scenes $(SCENES)

# The Python with CUDA that the machine has, not that of .venv: nothing can be installed there.
GPU_PYTHON ?= python3
MINUTES ?= 9
PARTS ?= tests,bench,train
NETWORK ?= base
gpu-kit: ## tests, benchmarks and a training on a GPU: OUT=folder MINUTES=9 PARTS=tests,bench,train; SMOKE=1 without one
	@test -n "$(OUT)" || { echo "say where the results go: make gpu-kit OUT=folder" >&2; exit 1; }
	PYTHONPATH=. $(GPU_PYTHON) benchmarks/gpu/kit.py --out "$(OUT)" --minutes $(MINUTES) --parts $(PARTS) --network $(NETWORK) \
		--pack $(PACK) $(if $(SMOKE),--smoke)

clean: ## remove what was generated, but not .venv
	rm -rf $(LIBRARY) build dist site demo out .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find samgeo tests benchmarks notebooks qgis-plugin -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.python:
	@if [ -z "$(PYTHON)" ]; then echo "samgeo needs Python 3.11 or newer; install it, or name it: make PYTHON=/path/to/python3.11" >&2; exit 1; fi
	@echo "Setting up $(VENV) with $$($(PYTHON) --version): once, a few minutes."
	$(PYTHON) -m venv $(VENV)
	@touch $@

# torch comes from PyPI with CUDA, which is gigabytes: where no GPU is, take the CPU build if it can be had. Its own
# requirements are left to the next step, which knows their versions.
$(VENV)/.torch: $(VENV)/.python constraints.txt
	@set -e; install="$(PIP) install --quiet --no-deps"; \
	if [ "$$(uname -s)" = Linux ] && ! command -v nvidia-smi >/dev/null 2>&1; then \
		$$install 'torch==$(TORCH)+cpu' 2>/dev/null \
		|| $$install --retries 1 --timeout 30 --index-url https://download.pytorch.org/whl/cpu 'torch==$(TORCH)' 2>/dev/null \
		|| $$install 'torch==$(TORCH)'; \
	else \
		$$install 'torch==$(TORCH)'; \
	fi
	@touch $@

# Where it cannot be built there is a warning and no file, and the next call tries again. A change of a source is no reason to
# install the packages again, so the stamps below only ask that it is up to date.
$(LIBRARY): hatch_build.py $(wildcard $(dir $(LIBRARY))*.cpp $(dir $(LIBRARY))*.h) | $(VENV)/.python
	@$(BIN)/python hatch_build.py

$(VENV)/.package: $(VENV)/.torch pyproject.toml constraints.txt | $(LIBRARY)
	$(PIP) install --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.torch pyproject.toml constraints.txt | $(LIBRARY)
	$(PIP) install --quiet --constraint constraints.txt --editable '.[test,docs,browser]'
	@touch $@ $(VENV)/.package
