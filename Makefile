# Two commands on a fresh machine: `make demo`, `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# CI pins every version; a newcomer takes the newest that pyproject.toml allows.
CONSTRAINTS ?=
PIP := $(BIN)/python -m pip install --quiet $(if $(CONSTRAINTS),-c $(CONSTRAINTS))

.PHONY: demo test slow lint types completions clean

demo: $(VENV)/installed
	$(BIN)/facerec demo --out demo --force --table

test: $(VENV)/developing
	$(BIN)/python -m pytest

slow: $(VENV)/developing
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/developing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports

types: $(VENV)/developing
	$(BIN)/mypy

completions: $(VENV)/installed
	$(BIN)/python -m tests.write_completions

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PIP) -e .
	touch $@

$(VENV)/developing: $(VENV)/installed
	$(PIP) -e '.[dev,onnx,export]'
	touch $@

clean:
	rm -rf $(VENV) demo build dist
