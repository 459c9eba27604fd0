# Everything runs in .venv, which is made from hash-pinned requirements. `make help` lists the targets.
PYTHON ?= python3
ARGS ?=
# Processes that run tests, each with servers of its own; 0 runs them in one process, for a debugger. One more than the
# two cores that the ten minutes are meant for: many tests wait for a moment to come.
WORKERS ?= 3
OPENAPI ?= .
TABLES ?=
UV ?= uv
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1
# Where packages come from is the caller's choice; where they go to is not.
unexport PIP_USER PIP_TARGET PIP_PREFIX PIP_ROOT PIP_CONSTRAINT PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE

# The name of a stamp holds a checksum of what was installed from, so that unchanged requirements install nothing.
CHECKSUM := $(shell cat requirements.txt pyproject.toml | cksum | cut -d' ' -f1)
DEV_CHECKSUM := $(shell cat requirements.txt requirements-dev.txt pyproject.toml | cksum | cut -d' ' -f1)
RUN_STAMP := $(VENV)/.run-$(CHECKSUM)
DEV_STAMP := $(VENV)/.dev-$(DEV_CHECKSUM)
IDENTITY_CHECKSUM := $(shell cat requirements-dev.txt requirements-identity.txt pyproject.toml | cksum | cut -d' ' -f1)
IDENTITY_STAMP := $(VENV)/.identity-$(IDENTITY_CHECKSUM)

.DEFAULT_GOAL := help
.PHONY: help demo test lint types contracts bench bench-identity weights conformance fuzz docs requirements clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(RUN_STAMP) ## two districts in, scoped OneRoster and webhooks out; ARGS="--once", "--fresh", "--port 8090"
	@$(BIN)/hub demo $(ARGS)

test: $(DEV_STAMP) ## all tests, against real PostgreSQL, Redis and HTTP; ARGS="-k name"
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

lint: $(DEV_STAMP) types contracts ## style, types, import contracts, deployment files
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	@if [ -f deploy/Dockerfile ]; then set -x; $(BIN)/hadolint deploy/Dockerfile; fi
	@if [ -d deploy ]; then set -x; $(BIN)/yamllint --strict deploy; fi

types: $(DEV_STAMP) ## mypy, strict
	$(BIN)/mypy

contracts: $(DEV_STAMP) ## who may import whom
	$(BIN)/lint-imports

bench: $(DEV_STAMP) ## us, the floor measured in the same run, and the ratio; ARGS="--students 500000"
	@$(BIN)/python -m tests.benchmarks $(ARGS)

bench-identity: $(IDENTITY_STAMP) ## who is who: FEBRL, rosterbench, Splink beside us; ARGS="--sizes 65000 --seeds 1"
	@$(BIN)/python -m tests.benchmarks.identity $(ARGS)

weights: $(IDENTITY_STAMP) ## learn the weights of matching anew, from seeds for tuning and from FEBRL 1 and 2
	@$(BIN)/python -m tests.benchmarks.identity.learn
	@$(BIN)/python -m tests.benchmarks.identity.learn register

conformance: $(DEV_STAMP) ## OpenAPI documents and tables of 1.1 against catalogue and live answers; OPENAPI=, TABLES=<folder>
	@$(BIN)/python -m tests.conformance $(OPENAPI) $(TABLES)

fuzz: $(DEV_STAMP) ## coverage-guided fuzzing of filters for a minute; ARGS="-max_total_time=86400"
	@$(BIN)/python -m tests.fuzz.filters .fuzz/filters $(or $(ARGS),-max_total_time=60)

docs: $(DEV_STAMP) ## write the generated pages of docs/ anew
	@$(BIN)/python -m tests.docs.generate

requirements: ## resolve the pinned requirements anew (needs uv)
	$(UV) pip compile -q --universal --python-version 3.11 --generate-hashes --no-annotate --no-emit-index-url \
	  --no-emit-find-links --custom-compile-command "make requirements" $(ARGS) \
	  --extra embedded --extra build -o requirements.txt pyproject.toml
	$(UV) pip compile -q --universal --python-version 3.11 --generate-hashes --no-annotate --no-emit-index-url \
	  --no-emit-find-links --custom-compile-command "make requirements" $(ARGS) -c requirements.txt \
	  --extra embedded --extra build --extra dev -o requirements-dev.txt pyproject.toml
	$(UV) pip compile -q --universal --python-version 3.11 --generate-hashes --no-annotate --no-emit-index-url \
	  --no-emit-find-links --custom-compile-command "make requirements" $(ARGS) -c requirements-dev.txt \
	  --extra bench-identity -o requirements-identity.txt pyproject.toml
	$(UV) pip compile -q --universal --python-version 3.11 --generate-hashes --no-annotate --no-emit-index-url \
	  --no-emit-find-links --custom-compile-command "make requirements" -c requirements.txt \
	  -o deploy/requirements.txt pyproject.toml
	echo hatchling | $(UV) pip compile -q --universal --python-version 3.11 --generate-hashes --no-annotate \
	  --no-emit-index-url --no-emit-find-links --custom-compile-command "make requirements" -c requirements.txt \
	  -o deploy/requirements-build.txt -

clean: ## remove the environment and all caches; the data in .hub/ stays
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

# A folder that was moved or copied brings stamps along that are not true any more.
ifneq ($(shell cat $(VENV)/.home 2>/dev/null),$(CURDIR))
$(RUN_STAMP) $(DEV_STAMP): .FORCE
endif
.PHONY: .FORCE
.FORCE:

# A stamp names what .venv holds: one for the run-time requirements, one for those and the developers' tools.
# An environment that has the developers' tools serves the demo as well.
$(RUN_STAMP):
	@$(MAKE) --no-print-directory .environment REQUIREMENTS=requirements.txt STAMP=$(RUN_STAMP)

$(DEV_STAMP):
	@$(MAKE) --no-print-directory .environment REQUIREMENTS=requirements-dev.txt STAMP=$(DEV_STAMP)
	@touch $(RUN_STAMP)

# What Splink and FEBRL need comes on top: no other target has it.
$(IDENTITY_STAMP): $(DEV_STAMP)
	@rm -f $(VENV)/.identity-*
	@echo "Installing requirements-identity.txt ..."
	@$(BIN)/python -m pip install --quiet --require-hashes --no-deps -r requirements-identity.txt
	@touch $(IDENTITY_STAMP)

.PHONY: .environment
.environment:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "RosterHub needs Python 3.11 or newer, and '$(PYTHON)' is not: make PYTHON=/path/to/python3.11 ..." >&2; \
	  exit 1; }
	@# An environment does not survive that its Python goes away or that the folder moves.
	@test "$$(cat $(VENV)/.home 2>/dev/null)" = "$(CURDIR)" && $(BIN)/python -c '' 2>/dev/null || { \
	  echo "Making $(VENV) ..."; rm -rf $(VENV); $(PYTHON) -m venv $(VENV) || { \
	    echo "'$(PYTHON) -m venv' failed: on Debian and Ubuntu it is in the package python3-venv" >&2; exit 1; }; \
	  printf '%s\n' "$(CURDIR)" > $(VENV)/.home; }
	@rm -f $(VENV)/.run-* $(VENV)/.dev-* $(VENV)/.identity-*
	@echo "Installing $(REQUIREMENTS) ..."
	@$(BIN)/python -m pip install --quiet --require-hashes --no-deps -r $(REQUIREMENTS)
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $(STAMP)
