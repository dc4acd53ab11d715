# Every verb of the project. The same targets serve people, hooks and CI.

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# make 3.81, which macOS has, looks for a plain command in its own PATH, not in the one below, unless the shell is not /bin/sh.
SHELL := bash
PYTHON ?= python3
PORT ?= 5000

# Every command runs from .venv; only its set-up uses the machine's own Python.
SYSTEM_PATH := $(subst $(CURDIR)/.venv/bin:,,$(PATH))
export PATH := $(CURDIR)/.venv/bin:$(SYSTEM_PATH)
unexport PYTHONHOME
# Modules of another distribution, such as ROS or a Spark, must not come before those of .venv.
export PYTHONPATH := $(CURDIR)/src
# Bytecode of src/ is to be written also where the shell says otherwise: without it each command compiles anew.
unexport PYTHONDONTWRITEBYTECODE

# Nothing here phones home.
export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := true
export GX_ANALYTICS_ENABLED := false
export DVC_NO_ANALYTICS := 1
export ORT_DISABLE_TELEMETRY := 1

# The environment is ready when the stamp is newer than the lock and was written for this folder: a virtual environment
# does not survive a move. Naming a PYTHON on the command line asks for a check of that too.
READY := .venv/.synced
ifneq ($(shell test -x .venv/bin/python && cat $(READY) 2>/dev/null),$(CURDIR))
.PHONY: $(READY)
endif
ifeq ($(origin PYTHON),command line)
.PHONY: $(READY)
endif

.PHONY: help setup lock train serve test test-docs test-load lint hooks types format docs reference notebooks ui bench loop \
	ci ci-full image probe sbom clean

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(READY) ## Make .venv from the lock (PYTHON=python3.12 picks another Python)

# Set-up keeps the user's package index and certificates, and no setting that would install elsewhere.
PLAIN := env -u PYTHONPATH -u PIP_TARGET -u PIP_PREFIX -u PIP_ROOT PIP_USER=0 PATH="$(SYSTEM_PATH)"
SUPPORTED := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
REFUSE = { echo "mlref needs Python 3.11, 3.12 or 3.13 with its venv module (on Debian and Ubuntu: apt install python3-venv), \
	and $(PYTHON) is not one. Name another: make setup PYTHON=python3.12" >&2; exit 1; }
SOUND = [ "$$(cat $(READY) 2>/dev/null)" = "$(CURDIR)" ] && .venv/bin/python -c '' \
	$(if $(filter command line,$(origin PYTHON)),&& [ "$$(.venv/bin/python -V)" = "$$("$(SETUP_PYTHON)" -V)" ])
# The system releases the lock when the last process that holds it ends.
ALONE := import fcntl, os, sys; lock = os.open(".venv.lock", os.O_CREAT | os.O_RDWR); fcntl.flock(lock, fcntl.LOCK_EX); \
	os.set_inheritable(lock, True); os.execvp(sys.argv[1], sys.argv[1:])

ifndef SETUP_PYTHON # `make` calls itself with the lock; where another make did the work meanwhile, the target is up to date
$(READY): requirements/dev.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || $(REFUSE)
	@$(PLAIN) SETUP_PYTHON="$$(PATH="$(SYSTEM_PATH)" command -v $(PYTHON))" $(PYTHON) -c '$(ALONE)' $(MAKE) $(READY)
else
$(READY): requirements/dev.txt pyproject.toml
	@$(SOUND) || { "$(SETUP_PYTHON)" -c '$(SUPPORTED)' 2>/dev/null || $(REFUSE); echo "Making .venv ..."; \
		"$(SETUP_PYTHON)" -m venv --clear .venv; }
	@rm -f $(READY)
	@sed -n '/^uv==/,/[^\\]$$/p' requirements/dev.txt > .venv/uv.txt
	@.venv/bin/python -m pip install --disable-pip-version-check --require-hashes --requirement .venv/uv.txt
	@.venv/bin/uv pip sync --python .venv/bin/python --require-hashes --compile-bytecode requirements/dev.txt
	@.venv/bin/uv pip install --quiet --python .venv/bin/python --offline --no-deps --no-build-isolation --editable .
	@# Relative, since Python in a C locale cannot read a path with letters beyond ASCII.
	@for file in .venv/lib/python*/site-packages/_editable_impl_mlref.pth; do echo ../../../../src > "$$file"; done
	@echo "$(CURDIR)" > $(READY)
endif

# The lock of dev, the superset, comes first; the others may only repeat its versions.
EXTRAS = $(shell python -c 'import tomllib; \
	print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"])')
COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-emit-find-links --custom-compile-command "make lock" pyproject.toml

lock: $(READY) ## Write requirements/*.txt from pyproject.toml (UPGRADE=1 takes the newest versions)
	@$(COMPILE) $(if $(UPGRADE),--upgrade) --extra dev --output-file requirements/dev.txt
	@for extra in $(filter-out dev,$(EXTRAS)); do \
		$(COMPILE) --constraints requirements/dev.txt --extra $$extra --output-file requirements/$$extra.txt || exit 1; \
	done

train: $(READY) ## Run the stages that are out of date, then register the model
	@test -e .git || python -m mlref.registry.git # an unpacked archive: says how to make it a repository
	@dvc repro || { $(TORN_LOCK) && { git checkout --quiet dvc.lock 2>/dev/null || rm dvc.lock; } && dvc repro; }
	@mlref register

# DVC writes dvc.lock in place, so a kill can cut it off. The stages are deterministic, so nothing is lost: the committed
# lock takes its place, and what it does not know is run again.
TORN_LOCK = dvc status 2>&1 | grep 'dvc\.lock' && echo "It was cut off by a kill: the committed one takes its place."

serve: $(READY) ## Serve the champion on 127.0.0.1:8000 (ARGS="--port 9000")
	@mlref serve $(ARGS)

test: $(READY) ## Run the tests (ARGS=--cov measures their coverage, in twice the time)
	@pytest -n auto --dist loadgroup --durations=10 $(ARGS)

test-docs: $(READY) ## Run the pages and notebooks as they are written (PAGES=some takes a part)
	@pytest -m docs -n auto --dist loadgroup --durations=5 $(ARGS)

test-load: $(READY) ## Run the long tests: the life of a clone, load, large inputs
	@pytest -m "load and not full" -n auto --dist loadgroup --durations=5 $(ARGS) || [ $$? -eq 5 ] # a fork may have none

lint: $(READY) ## Check style, types, layers, docstrings, secrets, schemas and workflows
	@$(MAKE) -j2 hooks types

hooks:
	@SKIP=mypy pre-commit run --all-files

types:
	@mypy

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
	@python -m mlref.tracking.ui $(PORT)

BENCHMARKS ?= $(filter-out %/side_by_side.py,$(wildcard benchmarks/*.py))

bench: $(READY) ## Run the benchmarks side by side with other tools (ARGS=--quick, BENCHMARKS=benchmarks/gate.py)
	@test -f models/store/champion || $(MAKE) train
	@# Quick ones measure nothing, so two of them may run at once.
	@printf '%s\n' $(BENCHMARKS) | xargs -P $(if $(findstring --quick,$(ARGS)),2,1) -I {} python {} $(ARGS)

loop: $(READY) ## Close the loop in a folder of its own: change, alarm, retraining, promotion, rollback (ARGS=--quick, ARGS=--learn)
	@python examples/loop.py $(ARGS)

# The engine that answers: a command without its daemon does not count.
ENGINE ?= $(firstword $(foreach name,docker podman,$(shell $(name) info >/dev/null 2>&1 && echo $(name))))
NEEDED = [ -n "$(ENGINE)" ] || { echo "Neither Docker nor Podman answers on this machine; make serve needs none." >&2; exit 1; }
VERSION = $(shell hatchling version)

image: $(READY) ## Build the image of the service, the champion inside, with Docker or Podman
	@$(NEEDED)
	@BUILDAH_FORMAT=docker $(ENGINE) build --tag mlref:$(VERSION) --tag mlref:latest --build-arg VERSION=$(VERSION) \
		--build-arg REVISION=$$(git rev-parse HEAD) $(ARGS) .

probe: $(READY) ## Start the image, check what its users rely on, stop it
	@$(NEEDED)
	@python tools/probe.py $(ENGINE) mlref:latest

sbom: $(READY) ## List what the image holds, in CycloneDX: dist/sbom.cdx.json
	@python tools/sbom.py

ci: ## Do what the build machine does for each change
	@.ci/run

ci-full: ## Do everything: all pages, all locks anew, all tests without each plane
	@.ci/run full

# Only what git ignores in these places, so neither your data nor a committed report can be lost; .venv and the cache of DVC stay.
GENERATED := data models reports mlartifacts mlruns dvc_plots dist ':(glob)mlflow.db*' ':(glob).coverage*' \
	docs .hypothesis .import_linter_cache .mypy_cache .pytest_cache benchmarks src tests tools

clean: ## Remove what was generated: data, models, runs, reports, caches (asks first; YES=1 does not)
	@git clean -ndX -- $(GENERATED)
	@[ -n "$(YES)" ] || { printf "Remove all of these? [y/N] "; read -r answer; [ "$$answer" = y ]; } || { echo "Nothing removed."; exit 1; }
	@git clean -fdqX -- $(GENERATED)
