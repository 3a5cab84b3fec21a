# `make help` lists what can be made. Everything needed is set up on the way and kept in .venv
# and tests/clients/node_modules; what has to come from the system is in tests/system-packages.

PYTHON ?= python3
BIN := .venv/bin
CLIENTS := tests/clients/node_modules/.package-lock.json

# The tree itself is installed, in the mode that leaves twisted/plugins visible to Twisted.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --config-settings editable_mode=compat --editable

.PHONY: help run test lint types tests chaos bench bench-quick clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\): [^#]*## /\1\t/p' Makefile | expand -t 13

run: .venv/ready ## serve a made-up conversation feed on loopback; ARGS='...' adds options of airyd
	@exec $(BIN)/python -m airyd.first_steps --nodaemon --pidfile= airyd --source sample: $(ARGS)

test: lint types tests ## everything that must pass: lint, types, all tests

lint: .venv/ready-for-tests ## ruff, with its security rules
	$(BIN)/ruff check .

types: .venv/ready-for-tests ## mypy, strictly, with its zope plugin
	$(BIN)/mypy

tests: .venv/ready-for-tests $(CLIENTS) ## all tests, with pytest and with trial
	$(BIN)/python -m tests.both_runners

chaos: .venv/ready-for-tests ## kill, stop, cut and empty everything for 33 minutes; python -m tests.chaos --help tells of less
	$(BIN)/python -m tests.chaos $(ARGS)
	$(BIN)/python -m tests.chaos --feed pubsub --mixed 240 $(ARGS)
	$(BIN)/python -m tests.chaos --feed sentinel --mixed 240 $(ARGS)
	$(BIN)/python -m tests.chaos.pair
	$(BIN)/python -m tests.chaos.comeback

bench: .venv/ready-for-tests ## measure beside plain Autobahn and C; AIRYD_WSLOAD_DIR names the folder of the load generator
	$(BIN)/python -m bench $(ARGS)

bench-quick: .venv/ready-for-tests ## the headline ratios in two minutes, compared with the last: before and after a change
	$(BIN)/python -m bench.headline $(ARGS)

clean: ## remove all that was made
	rm -rf .venv tests/clients/node_modules build dist *.egg-info _trial_temp* \
		.hypothesis .mypy_cache .pytest_cache .ruff_cache twisted/plugins/dropin.cache
	find airyd tests bench twisted -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/python:
	tests/system-packages run $(PYTHON)
	$(PYTHON) -m venv .venv

.venv/ready: setup.cfg pyproject.toml | .venv/bin/python
	$(INSTALL) .
	@touch $@

.venv/ready-for-tests: setup.cfg pyproject.toml tests/system-packages | .venv/bin/python
	tests/system-packages test $(PYTHON)
	$(INSTALL) '.[test,bench]'
	@touch .venv/ready $@

$(CLIENTS): tests/clients/package.json tests/clients/package-lock.json | .venv/ready-for-tests
	cd tests/clients && npm ci --no-audit --no-fund
	@touch $@
