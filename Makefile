# What one can do with this repository; `make` alone lists it. Each target sets up what it needs, once: a virtual
# environment in .venv, made from $(PYTHON), with this project in it. After that no target needs the network.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --quiet
CODE := $(wildcard src tests bench examples fuzz)

# A stamp is a copy of the pyproject.toml that was installed: no stamp, or another text, means install. The mark
# stands while an installation runs; where one is found, the last was cut short, and the environment is made anew.
RUN := $(VENV)/.installed-run
DEV := $(VENV)/.installed-dev
MARK := $(VENV)/.installing

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test check bench fuzz fix clean

help: ## List what one can do
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(RUN) ## Serve and call every transport, and compare each byte
	@$(PY) examples/demo.py

# Whole files, so that what a file sets up is set up once. Four at most: each may start servers of its own.
test: $(DEV) ## Run the tests; ARGS='-k name' goes to pytest
	@$(PY) -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile $(ARGS)

check: $(DEV) ## Check formatting, lint and types
	@$(PY) -m ruff format --check $(CODE)
	@$(PY) -m ruff check $(CODE)
	@$(PY) -m mypy --strict $(CODE)

bench: $(DEV) ## Measure start-up, engines beside C, asyncio and uvloop, datagrams, capture; ARGS go to bench/run.py
	@$(PY) bench/start_up.py
	@$(PY) bench/run.py $(ARGS)
	@$(PY) bench/capacity.py
	@$(PY) bench/datagrams.py
	@$(PY) bench/sockets.py
	@$(PY) bench/ping.py
	@$(PY) bench/read.py
	@$(PY) bench/capture.py
	@$(PY) bench/capture_processes.py

fuzz: $(DEV) ## Feed damaged files, packets and texts to what reads them, up to a million of each; ARGS='COUNT SEED'
	@$(PY) -m fuzz.capture_files $(ARGS)
	@$(PY) -m fuzz.packets $(ARGS)
	@$(PY) -m fuzz.texts $(ARGS)

fix: $(DEV) ## Format the code, and mend what the linter can
	@$(PY) -m ruff format $(CODE)
	@$(PY) -m ruff check --fix $(CODE)

clean: ## Remove what the others made: the environment, the caches
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find $(CODE) -name __pycache__ -type d -exec rm -rf {} +

$(RUN): pyproject.toml
	@cmp -s pyproject.toml $@ || { $(install) . && $(finish) $@; }
	@touch $@

$(DEV): pyproject.toml
	@cmp -s pyproject.toml $@ || { $(install) '.[dev]' && cp pyproject.toml $(RUN) && $(finish) $@; }
	@touch $@

# An environment that works is taken as it is, whoever made it.
define install
	if [ -e $(MARK) ] || ! $(PY) -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	        echo "echowire needs Python 3.11 or newer, and '$(PYTHON) -V' says $$($(PYTHON) -V 2>&1 | head -n 1);" \
	            "name another: make PYTHON=python3.12" >&2; exit 1; }; \
	    $(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	        echo "$(PYTHON) lacks the venv module; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }; \
	    echo 'Making $(VENV) …' >&2; \
	    rm -rf $(VENV) && mkdir $(VENV) && touch $(MARK) && $(PYTHON) -m venv $(VENV) || exit 1; \
	fi; \
	echo 'Installing into $(VENV) …' >&2 && touch $(MARK) && $(PIP) install --editable
endef

# What is imported at each start is compiled once, also where Python is told not to do so by itself.
define finish
	$(PY) -m compileall -q src && rm -f $(MARK) && cp pyproject.toml
endef
