# Each target does all its own set-up on a fresh machine: Python 3.11+, nothing else.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
JOBS ?= 2

.PHONY: demo test test-fast check format bench docs clean

demo: $(VENV)/.core
	$(RUN) -m lmgym leaderboard run --preset quick

test: $(VENV)/.dev
	$(RUN) -m pytest -n $(JOBS) --dist worksteal

test-fast: $(VENV)/.dev
	$(RUN) -m pytest -n $(JOBS) --dist worksteal -m "not slow"

check: $(VENV)/.dev
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

format: $(VENV)/.dev
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

bench: $(VENV)/.dev
	$(RUN) benchmarks/env_speed.py
	$(RUN) benchmarks/stages.py

docs: $(VENV)/.docs
	$(RUN) -m mkdocs build --strict --quiet
	@echo "build/site/index.html; to look at it: $(RUN) -m mkdocs serve"

clean:
	rm -rf $(VENV) build *.egg-info runs/leaderboard-quick

$(VENV)/.core: pyproject.toml constraints.txt
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/.dev: $(VENV)/.core
	$(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

$(VENV)/.docs: $(VENV)/.core
	$(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[docs]"
	touch $@
