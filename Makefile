# One command per task. Everything runs in .venv, which is made from a lock when that changes: requirements.txt, or
# requirements-cuda12.txt for older drivers and GPUs (docker/choose_lock.sh). CUDA=12, CUDA=13 and CPU=1 choose.
PYTHON ?= python3
# the container sets this to its own environment
VENV ?= .venv
BIN := $(VENV)/bin
# what is installed: the lock's name, CPU=1 if torch has no CUDA, and a copy of the lock
INSTALLED := $(VENV)/.installed
# the main job needs no network and no data by default: scikit-learn's bundled digits
ARGS ?= data=digits
# a process per core, each with whole files of tests, since the tests of a file share their trained runs; in the
# order that conftest.py chooses
ORDER := --dist loadfile --no-loadscope-reorder
PARALLEL ?= --numprocesses logical --maxprocesses 8
# older processors, as far as the libraries can be told to take this one for them; variables are joined by /. For AVX2:
# make test-processors PROCESSORS=ATEN_CPU_CAPABILITY=avx2/ONEDNN_MAX_CPU_ISA=AVX2/OMP_NUM_THREADS=2
PROCESSORS := ATEN_CPU_CAPABILITY=default/ONEDNN_MAX_CPU_ISA=SSE41/MKL_CBWR=COMPATIBILITY/OMP_NUM_THREADS=1
# what `make faults` runs; NUMBER=2000 takes most of an hour on two cores
FAULTS ?= fuzz_images fuzz_records fuzz_commands sweep_faults kills
NUMBER ?= 300
SWEEPS ?= trial stopped memory study
# the tests that compare numbers with a tolerance
NUMERIC := tests/set_module tests/network tests/test_model.py tests/task \
  'tests/test_data_parallel.py::test_two_ranks_learn_what_one_process_does_with_twice_the_batch[patch_set]'
# numbers, models and trainings, for the lock for CUDA 12: each network learns, is measured, follows each scheduler, and
# does so again
CUDA12 := $(NUMERIC) tests/test_train.py \
  -k 'not test_train.py or learns or same or every_scheduler or lr_0 or trainer_arguments or (debug and digits)'
COMPILE = $(BIN)/uv pip compile --universal --all-extras --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-header --quiet pyproject.toml
# $$choice is empty, or a lock and CPU=1
FILL = { [ -z "$$choice" ] || { $(PYTHON) -m venv $(VENV) && set -- $$choice && \
  env $$2 sh docker/install.sh $(VENV) $$1; }; }

.PHONY: help train test test-all test-processors test-cuda12 test-slow lint format tensorboard mlflow explore dashboard docs bench check-gpu faults lock clean compare install
help: ## list the commands
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 17

train: $(INSTALLED) ## train a network: make train ARGS="data=MNIST hparams.batch_size=64"
	$(BIN)/python src/train.py $(ARGS)

test: $(INSTALLED) ## run the tests that start no other process: 6 minutes on two cores
	$(BIN)/python -m pytest $(PARALLEL) $(ORDER) $(ARGS_TEST)

test-all: $(INSTALLED) ## run all tests except those of the container; those on real data need DATASET
	$(BIN)/python -m pytest $(PARALLEL) $(ORDER) -m 'not slow' --durations=20 $(ARGS_TEST)

test-processors: $(INSTALLED) ## run the numeric tests with the instructions of older processors
	$(foreach variables,$(PROCESSORS),$(subst /, ,$(variables)) \
	  $(BIN)/python -m pytest $(PARALLEL) $(ORDER) -m 'not (long or slow)' $(NUMERIC) $(ARGS_TEST) &&) true

test-cuda12: ## run the fast tests of numbers, models and trainings on the lock for CUDA 12, in .venv-cuda12
	@$(MAKE) --no-print-directory VENV=.venv-cuda12 CUDA=12 test ARGS_TEST="$(CUDA12) $(ARGS_TEST)"

test-slow: $(INSTALLED) ## run the tests of the container, from its build on
	$(BIN)/python -m pytest -m slow $(ARGS_TEST)

lint: $(INSTALLED) ## check style, types and shell scripts
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/shellcheck --shell=bash --external-sources .ci/* docker/*.sh hydra/tab_completion_bash

format: $(INSTALLED) ## format the code and apply ruff's fixes
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

tensorboard: PORT ?= 6006
tensorboard: $(INSTALLED) ## serve TensorBoard's page of the runs in outputs/ and multirun/: http://localhost:6006, or PORT=
	PATH="$(abspath $(BIN)):$$PATH" sh docker/tensorboard_server.sh $(PORT) 127.0.0.1

mlflow: PORT ?= 5000
mlflow: $(INSTALLED) ## serve MLflow's pages of the runs in mlruns/: http://localhost:5000, or PORT=
	PATH="$(abspath $(BIN)):$$PATH" sh docker/mlflow_server.sh $(PORT) 127.0.0.1 'localhost:*,127.0.0.1:*'

explore: PORT ?= 8501
explore: $(INSTALLED) ## serve the page of trained runs in outputs/ and multirun/: http://localhost:8501, or PORT=
	PATH="$(abspath $(BIN)):$$PATH" sh docker/explore_server.sh $(PORT) 127.0.0.1 localhost src

dashboard: $(INSTALLED) ## serve Optuna's pages of the searches in multirun/optuna.db: http://localhost:8080
	$(BIN)/optuna-dashboard sqlite:///multirun/optuna.db

docs: $(INSTALLED) ## build the site of README.md and docs/ into site/; a link that leads nowhere is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: $(INSTALLED) ## measure every claim of speed, both sides in one run
	PYTHONPATH=src:tests/support $(BIN)/python tests/bench/bench.py $(PARTS)

check-gpu: $(INSTALLED) ## check and measure on a GPU, 3 minutes: make check-gpu ARGS_GPU="--seconds 600"
	PYTHONPATH=src:tests/support:tests/set_module $(BIN)/python tests/bench/check_gpu.py $(ARGS_GPU)

faults: $(INSTALLED) ## damaged files, hostile words, killed runs: make faults FAULTS=kills KILLS=200 NETWORKS="cnn lenet"
	@status=0; for trial in $(FAULTS); do echo "--- $$trial"; case $$trial in \
	  fuzz_*) words="--number $(NUMBER)" ;; sweep_faults) words="$(SWEEPS)" ;; \
	  *) words="$(if $(KILLS),--kills $(KILLS)) $(NETWORKS)" ;; esac; \
	  PYTHONPATH=src:tests/support $(BIN)/python tests/faults/$$trial.py $$words || status=1; done; exit $$status

lock: $(INSTALLED) ## write the locks from pyproject.toml: newest versions, Python 3.11 and later, all extras
	$(COMPILE) --upgrade --output-file requirements.txt
	cp requirements.txt requirements-cuda12.txt # its versions are kept, except those that torch below 2.11 needs
	echo 'torch<2.11' | $(COMPILE) --constraint - --output-file requirements-cuda12.txt

clean: ## remove caches, .venv and .venv-cuda12; runs and data stay
	rm -rf .venv .venv-cuda12 .mypy_cache .pytest_cache .ruff_cache

$(INSTALLED): compare
	@choice=$$(sh docker/choose_lock.sh "$(VENV)") && $(FILL)

install: ## make .venv anew for this machine's GPUs: make install CUDA=12, CUDA=13 or CPU=1 for others
	@choice=$$(sh docker/choose_lock.sh '') && $(FILL)
