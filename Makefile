# make demo: the main job on real games, figures and reports in demo/.    make test: the tests.
# Both create .venv and install the package into it when needed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test bench lint clean

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@

demo: $(VENV)/installed
	$(BIN)/kofn study formation -n 14 -k 2:14 --steps 200 --runs 20 -o demo/formation
	$(BIN)/kofn study robots -n 1000 -k 1:5,8,12,16,20,25,30 --local-policy uniform --steps 200 --runs 200 -o demo/robots
	$(BIN)/kofn report demo/formation -o demo/formation.html --force
	$(BIN)/kofn report demo/robots -o demo/robots.html --force

# Two processes: most tests wait for a compiler, a file or another process at some time.
test: $(VENV)/installed
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder

bench: $(VENV)/installed
	mkdir -p .benchmarks
	$(BIN)/python -m pytest -q benchmarks --benchmark-only --benchmark-json .benchmarks/last.json
	$(BIN)/python benchmarks/table.py .benchmarks/last.json

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy engine kernels cli

clean:
	rm -rf $(VENV) build dist *.egg-info demo
