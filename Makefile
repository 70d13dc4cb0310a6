# The whole workflow. `make run` and `make test` do all the set-up a fresh machine needs.
PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: run test lint format bench reproduce generation zoo

run: .venv/app
	$(BIN)/python -m streamlit run streamlit_app.py

test: .venv/dev lint
	$(BIN)/python -m pytest -n 2 --dist worksteal

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/bench
	$(BIN)/python -m tests.bench

reproduce: .venv/dev
	$(BIN)/python -m tests.reproduce

generation: .venv/dev
	$(BIN)/python -m tests.generation

zoo: .venv/app
	$(BIN)/python -m genmodels.zoo

.venv/app: requirements.txt
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || { echo "Python 3.11, 3.12 or 3.13 is needed: make run PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -r requirements.txt
	touch $@

.venv/dev: .venv/app pyproject.toml
	$(BIN)/pip install --quiet -c requirements.txt -e '.[dev]'
	touch $@

.venv/bench: .venv/dev
	$(BIN)/pip install --quiet -c requirements.txt -e '.[bench]'
	touch $@
