# Every target sets up .venv first; only the first time, or when the pins change, takes minutes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test check docs clean

help: ## show this list
	@echo "make TARGET, where TARGET is one of"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1\t\2/p' $(firstword $(MAKEFILE_LIST))

demo: $(STAMP) ## train on the embedded data, forecast, score and plot into demo-output/
	@echo "==> demo: results go to demo-output/"
	@$(BIN)/python -m benchmarks.demo --output demo-output

test: $(STAMP) ## run the tests
	@echo "==> tests"
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 \
		--dist loadfile --no-loadscope-reorder

check: $(STAMP) ## formatting, lint and types
	@echo "==> ruff format"
	@$(BIN)/ruff format --check .
	@echo "==> ruff check"
	@$(BIN)/ruff check .
	@echo "==> mypy"
	@$(BIN)/mypy

docs: $(STAMP) ## build the site into site/: guides, annotated text, reference
	@echo "==> docs: the site goes to site/index.html"
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean: ## remove the environment, caches and outputs
	@echo "==> removing $(VENV), caches and outputs"
	@rm -rf $(VENV) build dist site demo-output lightning_logs checkpoints
	@rm -rf .pytest_cache .mypy_cache .ruff_cache
	@find timediff benchmarks tests datasets docs -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { \
		echo "error: $(PYTHON) not found; install Python 3.10 or later, or run make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
		echo "error: timediff needs Python 3.10 or later, $(PYTHON) is $$($(PYTHON) --version 2>&1); run make PYTHON=python3.11" >&2; exit 1; }
	@echo "==> creating $(VENV) with $$($(PYTHON) --version 2>&1)"
	@$(PYTHON) -m venv $(VENV)
	@echo "==> installing timediff and its tools at the versions of constraints.txt (a few minutes)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@
