# Every verb of the project. The same targets serve people, hooks and CI.

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
PORT ?= 5000

# Every command runs from .venv; only its set-up uses the machine's own Python.
SYSTEM_PATH := $(subst $(CURDIR)/.venv/bin:,,$(PATH))
export PATH := $(CURDIR)/.venv/bin:$(SYSTEM_PATH)
unexport PYTHONHOME
# Bytecode of src/ is to be written also where the shell says otherwise: without it each command compiles anew.
unexport PYTHONDONTWRITEBYTECODE

# Nothing here phones home.
export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := true
export GX_ANALYTICS_ENABLED := false
export DVC_NO_ANALYTICS := 1
export ORT_DISABLE_TELEMETRY := 1

# The environment is ready when the stamp is newer than the lock and was written for this folder (a virtual environment does
# not survive a move). Naming a PYTHON on the command line asks for a check of that too.
READY := .venv/.synced
ifneq ($(shell test -x .venv/bin/python && cat $(READY) 2>/dev/null),$(CURDIR))
.PHONY: $(READY)
endif
ifeq ($(origin PYTHON),command line)
.PHONY: $(READY)
endif

.PHONY: help setup lock train serve test test-docs test-load lint format docs reference notebooks ui bench image sbom ci clean

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(READY) ## Make .venv from the lock (PYTHON=python3.12 picks another Python)

$(READY): requirements/dev.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "There is no $(PYTHON) on this machine; mlref needs Python 3.11, 3.12 or 3.13." >&2; exit 1; }
	@PATH="$(SYSTEM_PATH)" PYTHON="$(PYTHON)" $(PYTHON) tools/setup_venv.py

lock: $(READY) ## Write requirements/*.txt from pyproject.toml (UPGRADE=1 takes the newest versions)
	@python tools/lock.py $(if $(UPGRADE),--upgrade)

train: $(READY) ## Run the stages that are out of date, then register the model
	@dvc repro || { $(TORN_LOCK) && rm dvc.lock && dvc repro; }
	@mlref register

# DVC writes dvc.lock in place, so a kill can cut it off. The stages are deterministic and DVC keeps their
# outputs, so nothing is lost without it.
TORN_LOCK = dvc status 2>&1 | grep 'dvc\.lock' && echo "It was cut off by a kill; DVC makes it again from its cache."

serve: $(READY) ## Serve the champion on 127.0.0.1:8000 (ARGS="--port 9000")
	@mlref serve $(ARGS)

test: $(READY) ## Run the tests and print their coverage
	@pytest -n auto --dist loadgroup --cov --cov-report=term --durations=10 $(ARGS)

test-docs: $(READY) ## Run README, lessons, how-tos and notebooks as they are written
	@pytest -m docs -n auto --dist loadgroup --durations=5 $(ARGS)

test-load: $(READY) ## Run the long tests, such as all tests once more without service and batch
	@pytest -m load -n auto --dist loadgroup --durations=5 $(ARGS) || { code=$$?; [ $$code -eq 5 ] && echo "There are no load tests."; }

lint: $(READY) ## Check style, types, layers, docstrings, secrets and the freshness of all locks
	@pre-commit run --all-files

format: $(READY) ## Sort imports and format the code
	@isort --quiet .
	@black --quiet .

docs: $(READY) ## Build the documentation into docs/_build/html; a warning is an error
	@python tools/write_reference.py --check
	@sphinx-build --fail-on-warning --keep-going --quiet --jobs auto docs docs/_build/html
	@echo "Open docs/_build/html/index.html"

reference: $(READY) ## Write the generated pages of the documentation and the JSON Schemas of config/
	@python tools/write_reference.py

notebooks: $(READY) ## Execute the notebooks and store their outputs
	@python tools/run_notebooks.py

ui: $(READY) ## Show the runs in MLflow on 127.0.0.1:5000 (PORT=5001)
	@mlflow server --backend-store-uri sqlite:///mlflow.db --host 127.0.0.1 --port $(PORT) --workers 1

bench: $(READY) ## Run the benchmarks side by side with other tools (ARGS=--quick)
	@test -f models/store/champion || $(MAKE) train
	@for file in $(filter-out %/side_by_side.py,$(wildcard benchmarks/*.py)); do python "$$file" $(ARGS) || exit 1; done

image: $(READY) ## Build the image of the service, the champion inside, with Docker or Podman
	@python tools/image.py build $(ARGS)

sbom: $(READY) ## List what the image holds, in CycloneDX: dist/sbom.cdx.json
	@python tools/sbom.py

ci: ## Do what the build machine does
	@.ci/run

# Only what git ignores in these places, so neither your data nor a committed report can be lost; .venv and the cache of DVC stay.
GENERATED := data models reports mlartifacts mlruns dvc_plots dist ':(glob)mlflow.db*' ':(glob).coverage*' \
	docs .hypothesis .import_linter_cache .mypy_cache .pytest_cache benchmarks src tests tools

clean: ## Remove what was generated: data, models, runs, reports, caches (asks first; YES=1 does not)
	@git clean -ndX -- $(GENERATED)
	@[ -n "$(YES)" ] || { printf "Remove all of these? [y/N] "; read -r answer; [ "$$answer" = y ]; } || { echo "Nothing removed."; exit 1; }
	@git clean -fdqX -- $(GENERATED)
