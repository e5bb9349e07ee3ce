# Each target sets up .venv by itself, from the pinned and hashed requirements.lock. PYTHON chooses the interpreter.
PYTHON ?= python3
VENV ?= .venv
LOCK ?= requirements.lock
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# The suite never reads what a shell happens to have set, except where its servers and recorded data are.
UNREAD := $(filter-out CRYPTO_ASSETS_TEST_% CRYPTO_ASSETS_RECORDED_DATA,$(filter CRYPTO_ASSETS_%,$(.VARIABLES)))
CLEAN_ENV := env -u DAGSTER_HOME $(foreach name,$(UNREAD),-u $(name))

.PHONY: demo test test-oldest dev bench lint format lock clean

demo: $(READY) ## the main job against an exchange on this machine
	$(BIN)/crypto-assets demo $(ARGS)

test: $(READY) ## the tests, on all cores
	$(CLEAN_ENV) $(BIN)/python -m pytest -n auto $(ARGS)

test-oldest: ## the tests with the oldest packages that pyproject.toml allows, in an environment of their own
	$(MAKE) test VENV=.venv-oldest LOCK=requirements-oldest.lock

dev: $(READY) ## the Dagster UI on port 3000; with CRYPTO_ASSETS_ENVIRONMENT=sandbox the sandbox runs beside it
	$(BIN)/crypto-assets dev $(if $(DATA),--data "$(DATA)") $(ARGS)

bench: $(READY) ## our path beside what people write by hand, in one run
	$(BIN)/python -m benchmarks $(ARGS)

lint: $(READY) ## linter, formatter, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Each version of dagster-postgres fits one version of Dagster: the locks hold one that it fits, without holding it.
FAMILY := --extra postgres --no-emit-package dagster-postgres --no-emit-package psycopg2-binary
lock: ## pin again what pyproject.toml allows (needs uv)
	uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes --no-header \
		--no-annotate --no-emit-index-url --upgrade $(FAMILY) -o requirements.lock
	uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes --no-header \
		--no-annotate --no-emit-index-url --upgrade $(FAMILY) --resolution lowest-direct -o requirements-oldest.lock
	echo freqtrade | uv pip compile - --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		--no-emit-index-url --upgrade -o benchmarks/freqtrade-requirements.txt

$(READY): $(LOCK) pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' || \
		{ echo "Python 3.11 to 3.14 is needed; $(PYTHON) is something else. Say which: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
		{ echo "$(PYTHON) cannot make virtual environments; on Debian: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $(LOCK)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	$(BIN)/python -m compileall -q crypto_assets
	@touch $@

clean: ## removes the environment and Dagster's history; data/ stays
	rm -rf $(VENV) .dagster .mypy_cache .ruff_cache .pytest_cache .hypothesis
