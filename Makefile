# make up    set up, train what has no champion, serve API, dashboard and MLflow UI
# make test  set up, lint, type-check, test
# make scale  set up, then Ray as well, for `--engine ray`
# make containers  build and start the stack, kill each container, see it recover, take it down
# make release-check  version, changelog, locks, notices, cards, links and manifests agree
# make published  set up, fit five published systems again (REAL_DATA_DIR names the folder of prices)
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export API_PORT ?= 8000
export DASHBOARD_PORT ?= 8501
export MLFLOW_PORT ?= 5000
export STOCK_API_URL ?= http://127.0.0.1:$(API_PORT)
export STOCK_MLFLOW_URL ?= http://127.0.0.1:$(MLFLOW_PORT)

.PHONY: help install scale up published test tests test-long lint lock clean containers release-check release-files audit

help:
	@sed -n 's/^# //p' Makefile | head -6

install: $(VENV)/installed

$(VENV)/uv: requirements/bootstrap.txt
	@echo "setting up $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11")'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/bootstrap.txt
	@touch $@

# uv, because the pip that Python 3.11.7 brings rejects a hash lock with environment markers
$(VENV)/installed: $(VENV)/uv requirements.txt
	@$(BIN)/uv pip install --python $(BIN)/python --require-hashes -r requirements.txt
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed requirements/dev.txt
	@$(BIN)/uv pip install --python $(BIN)/python --require-hashes -r requirements/dev.txt
	@touch $@

scale: $(VENV)/installed
	@$(BIN)/uv pip install --python $(BIN)/python --require-hashes -r requirements-scale.txt

# exit 1 means that a ticker could not be trained: the others are served all the same
up: install
	@train="$(BIN)/python train.py --missing"; $$train || [ $$? -eq 1 ]
	@$(BIN)/honcho start || [ $$? -eq 130 ]

published: install
	@$(BIN)/python published.py

lint: $(VENV)/installed-dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

test: lint tests

# three on two cores, as a fifth of the time is waiting; files of one long test do not come last
TESTS ?= not long
tests: $(VENV)/installed-dev
	@$(BIN)/pytest -m "$(TESTS)" -n 3 --dist loadfile --no-loadscope-reorder $(if $(RESULTS),--junitxml=$(RESULTS))

test-long: $(VENV)/installed-dev
	@$(BIN)/pytest

ROLES := serve dashboard train monitor mlflow
# fewest: every Python gets the same versions, and so the same numbers and warnings
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest --generate-hashes --no-header

lock: $(VENV)/uv
	@$(COMPILE) requirements/bootstrap.in -o requirements/bootstrap.txt
	@$(COMPILE) requirements.in -o requirements.txt
	@for role in $(ROLES) telemetry; do $(COMPILE) requirements/$$role.in -c requirements.txt -o requirements/$$role.txt; done
	@$(COMPILE) requirements/scale.in -o requirements-scale.txt
	@$(COMPILE) requirements/dev.in -o requirements/dev.txt
	@$(COMPILE) requirements/release.in -o requirements/release.txt

# an environment of its own: these tools pin what the project does not want
RELEASE := $(VENV)/release
$(RELEASE)/installed: $(VENV)/uv requirements/release.txt
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(RELEASE)
	@$(BIN)/uv pip install --quiet --python $(RELEASE)/bin/python --require-hashes -r requirements/release.txt
	@touch $@

release-check: $(VENV)/installed-dev $(RELEASE)/installed
	@$(BIN)/python deploy/release.py check --tools $(RELEASE)/bin

# what a release carries that is made from other files: THIRD_PARTY_NOTICES.md, docs/MODEL_CARD.md
release-files: install
	@$(BIN)/python deploy/release.py write

# --strict, or a library that the advisories' service does not know passes for a sound one
audit: $(RELEASE)/installed
	@for lock in requirements*.txt requirements/*.txt; do echo "$$lock"; \
	  $(RELEASE)/bin/pip-audit --strict --require-hashes --disable-pip --progress-spinner off -r "$$lock" || exit 1; done

containers:
	@$(PYTHON) deploy/check_containers.py

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache test-artifacts
