# `make help` lists what can be made. Everything needed is set up on the way and kept in .venv
# and tests/clients/node_modules; what has to come from the system is in tests/system-packages.

PYTHON ?= python3
# The virtual environment, and the file with the exact version of every package that is installed into it.
VENV := .venv
CONSTRAINTS := constraints.txt
BIN := $(VENV)/bin
CLIENTS := tests/clients/node_modules/.package-lock.json

PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check install --constraint $(CONSTRAINTS)
# The tree itself is installed, by the setuptools of the constraints.
INSTALL := $(PIP) --no-build-isolation --editable

.PHONY: help run check test lint types unit tests docs docs-pictures test-long test-oldest test-newest coverage lock \
	dist chaos bench bench-quick bench-check clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\): [^#]*## /\1\t/p' Makefile | expand -t 14

run: $(VENV)/ready ## serve a made-up conversation feed on loopback; ARGS='...' adds options of airyd
	@exec $(BIN)/python -m airyd.runtime.first_steps --nodaemon --pidfile= airyd --source sample: $(ARGS)

check: lint ## for every day: lint, types, and the tests that start no process
	@$(MAKE) --no-print-directory --jobs=2 types unit

test: lint ## everything that must pass: lint, types, all tests but the long ones, and the docs' site
	@$(MAKE) --no-print-directory --jobs=3 types docs tests

lint: $(VENV)/ready-for-tests ## ruff: its rules, with those for security, and the formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/ready-for-tests ## mypy, strictly, with its zope plugin
	$(BIN)/mypy

unit: $(VENV)/ready-for-tests ## the tests that start no process
	$(BIN)/python -m tests.suite unit

tests: $(VENV)/ready-for-tests $(CLIENTS) ## all tests but the long ones, with pytest; the unit tests with trial, too
	$(BIN)/python -m tests.suite

docs: $(VENV)/ready-for-tests ## make a site of docs/ with Sphinx, in build/docs; a warning is an error
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --nitpicky --quiet docs build/docs
	@echo 'The first page is build/docs/index.html'

docs-pictures: $(VENV)/ready-for-tests $(CLIENTS) ## take the pictures of the console in docs/pictures, in two minutes
	$(BIN)/python -m tests.console_pictures

test-long: $(VENV)/ready-for-tests $(CLIENTS) ## the tests that take over 20 seconds each
	$(BIN)/python -m tests.suite long

test-oldest: ## all tests with the oldest packages that setup.cfg admits, in an environment of their own
	rm -rf .venv-oldest
	mkdir .venv-oldest
	$(PYTHON) tests/oldest.py >.venv-oldest/constraints.txt
	$(MAKE) VENV=.venv-oldest CONSTRAINTS=.venv-oldest/constraints.txt tests docs test-long

test-newest: ## all tests with the newest packages that setup.cfg admits, in an environment of their own
	rm -rf .venv-newest
	mkdir .venv-newest
	: >.venv-newest/constraints.txt
	$(MAKE) VENV=.venv-newest CONSTRAINTS=.venv-newest/constraints.txt tests docs test-long

coverage: $(VENV)/ready-for-tests $(CLIENTS) ## run the tests once more and show which lines and branches they reach
	$(BIN)/python -m tests.coverage $(ARGS)

lock: ## write constraints.txt anew, with the newest packages that setup.cfg admits
	rm -rf .venv-newest
	mkdir .venv-newest
	: >.venv-newest/constraints.txt
	$(MAKE) VENV=.venv-newest CONSTRAINTS=.venv-newest/constraints.txt .venv-newest/ready-for-tests
	printf '%s\n' '# The exact version of every Python package that make installs; make lock writes this file anew.' \
		>.venv-newest/lock.txt
	.venv-newest/bin/python -m pip freeze --all --exclude-editable >>.venv-newest/lock.txt
	mv .venv-newest/lock.txt constraints.txt

dist: $(VENV)/ready-for-tests ## build a release into dist/, check it, and try it as docs/installing.rst says
	rm -rf dist
# What the build leaves beside airyd/ would hide the metadata of the installed tree.
	$(BIN)/python -m build --no-isolation --outdir dist . ; status=$$?; rm -rf *.egg-info; exit $$status
	$(BIN)/python -m twine check --strict dist/*
	cp constraints.txt dist/
	$(BIN)/python -m tests.installation dist

chaos: $(VENV)/ready-for-tests ## kill, stop, cut and empty everything for 33 minutes; for less, see python -m tests.chaos --help
	$(BIN)/python -m tests.chaos $(ARGS)
	$(BIN)/python -m tests.chaos --feed pubsub --mixed 240 $(ARGS)
	$(BIN)/python -m tests.chaos --feed sentinel --mixed 240 $(ARGS)
	$(BIN)/python -m tests.chaos.pair
	$(BIN)/python -m tests.chaos.comeback

bench: $(VENV)/ready-for-tests ## measure beside plain Autobahn and C; AIRYD_WSLOAD_DIR names the folder of the load generator
	$(BIN)/python -m bench $(ARGS)

bench-quick: $(VENV)/ready-for-tests ## the headline ratios in two minutes, compared with the last: before and after a change
	$(BIN)/python -m bench.headline $(ARGS)

bench-check: $(VENV)/ready-for-tests ## count instructions, and measure what must stay within bounds
	$(BIN)/python -m bench.check $(ARGS)

clean: ## remove all that was made
	rm -rf .venv .venv-oldest .venv-newest tests/clients/node_modules build dist *.egg-info _trial_temp* \
		.coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache twisted/plugins/dropin.cache
	find airyd tests bench twisted -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	tests/system-packages run $(PYTHON)
	$(PYTHON) -m venv $(VENV)

$(VENV)/ready: setup.cfg pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	$(PIP) --upgrade pip setuptools
	$(INSTALL) .
	@touch $@

$(VENV)/ready-for-tests: setup.cfg pyproject.toml $(CONSTRAINTS) tests/system-packages | $(BIN)/python
	tests/system-packages test $(PYTHON)
	$(PIP) --upgrade pip setuptools
	$(INSTALL) '.[test,bench,docs,release]'
	@touch $(VENV)/ready $@

$(CLIENTS): tests/clients/package.json tests/clients/package-lock.json | $(VENV)/ready-for-tests
	cd tests/clients && npm ci --no-audit --no-fund
	@touch $@
