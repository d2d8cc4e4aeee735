# Every target sets up what it needs. `make help` lists them.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help setup demo test test-fast lint format bench serve clean

help:  ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: .venv/installed  ## make the environment, with pinned versions

.venv/installed: pyproject.toml sdk/pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e sdk -e '.[fit,train,corpus,dev]'
	touch $@

demo: setup  ## run the whole loop on real text (REGMIX=folder: on RegMix's published runs)
	$(BIN)/mixwright demo $(if $(REGMIX),--regmix $(REGMIX))

serve: setup  ## run the server with everything embedded
	$(BIN)/mixwright serve

# The workers of pytest share the processors already: threads of libraries would wait for each other.
test test-fast: export OMP_NUM_THREADS = 1
test test-fast: export OPENBLAS_NUM_THREADS = 1

test: setup  ## run all tests
	$(BIN)/pytest -n 2

test-fast: setup  ## run the tests that take seconds
	$(BIN)/pytest -n 2 -m 'not slow'

lint: setup  ## check style, formatting, imports and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

format: setup  ## mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup  ## measure everything again and rebuild docs/benchmarks.md
	$(BIN)/python -m benchmarks

clean:  ## remove the environment and what the demo left
	rm -rf .venv var
