# The whole workflow. `make run` and `make test` do all the set-up a fresh machine needs.
PYTHON ?= python3
BIN := .venv/bin
LINT := $(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: run test lint format bench reproduce generation load pictures zoo soak audit lock

run: .venv/app
	$(BIN)/python -m streamlit run streamlit_app.py

# Lint runs beside the tests, and what it says comes after theirs.
test: .venv/dev
	($(LINT)) > .venv/lint.txt 2>&1 & linting=$$!; $(BIN)/python -m pytest -n 2 --dist worksteal; tested=$$?; \
		wait $$linting; linted=$$?; cat .venv/lint.txt; exit $$((tested | linted))

# What `make test` tries a thousand times and kills five times, ten times over.
soak: .venv/dev
	GENMODELS_SOAK=1 $(BIN)/python -m pytest -n 2 --dist worksteal tests/test_fuzz.py tests/test_faults.py tests/test_worker.py \
		tests/test_security.py tests/data/test_intake.py tests/test_onnx.py tests/test_reproduction.py \
		tests/browser/test_journeys.py tests/browser/test_faults.py tests/browser/test_demo.py tests/browser/test_axe.py

audit: .venv/audit
	$(BIN)/python -m tests.audit

# Every package of an install, for all our versions of Python and systems, as new as requirements.txt and pyproject.toml let.
lock: .venv/audit
	grep == requirements.txt | $(BIN)/uv pip compile - pyproject.toml --extra dev --extra audit --universal \
		--python-version 3.11 --custom-compile-command "make lock" --no-annotate --upgrade --quiet --output-file constraints.txt

lint: .venv/dev
	$(LINT)

format: .venv/dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/bench
	$(BIN)/python -m tests.bench

# Thirty visitors for ten minutes while a run trains; LOAD="--visitors 5 --minutes 1" for less.
load: .venv/dev
	$(BIN)/python -m tests.load $(LOAD)

reproduce: .venv/dev
	$(BIN)/python -m tests.reproduce

generation: .venv/dev
	$(BIN)/python -m tests.generation

# Those of the README, taken from the app.
pictures: .venv/dev
	$(BIN)/python -m tests.pictures

zoo: .venv/app
	$(BIN)/python -m genmodels.zoo

.venv/app: requirements.txt constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || { echo "Python 3.11, 3.12 or 3.13 is needed: make run PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -r requirements.txt
	touch $@

.venv/dev: .venv/app pyproject.toml
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

.venv/bench: .venv/dev
	$(BIN)/pip install --quiet -c constraints.txt -e '.[bench]'
	touch $@

.venv/audit: .venv/dev
	$(BIN)/pip install --quiet -c constraints.txt -e '.[audit]'
	touch $@
