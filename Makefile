# One command per wish. Everything runs in .venv, which is made from requirements.txt when that changes.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
# the main job needs no network and no data by default: scikit-learn's bundled digits
ARGS ?= data=digits hparams.max_epochs=30

.PHONY: help train test lint format bench lock clean
help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

train: $(INSTALLED) ## train: make train ARGS="data=MNIST hparams.batch_size=64"
	$(BIN)/python src/train.py $(ARGS)

test: $(INSTALLED) ## run the tests; those on real data where DATASET points at it
	$(BIN)/python -m pytest $(ARGS_TEST)

lint: $(INSTALLED) ## style, types, shell scripts
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/shellcheck --shell=bash .ci/run hydra/tab_completion_bash

format: $(INSTALLED) ## mend what can be mended by a tool
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(INSTALLED) ## measure every claim of speed in the README, both sides in one run
	PYTHONPATH=src $(BIN)/python tests/bench/bench.py $(PARTS)

lock: $(INSTALLED) ## requirements.txt from pyproject.toml: newest versions, for 3.11 and later, all extras
	$(BIN)/uv pip compile --upgrade --universal --all-extras --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header --quiet pyproject.toml --output-file requirements.txt

clean: ## remove caches and .venv; runs and data stay
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache

$(INSTALLED): requirements.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet "$$(grep -oE '^uv==[^ ]+' requirements.txt)"
	$(BIN)/uv pip sync --python $(BIN)/python --require-hashes --quiet requirements.txt
	@touch $@
