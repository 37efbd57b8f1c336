# Everything a developer or a newcomer runs.  `make` alone lists the targets.
#
# The one thing needed beforehand is a Python 3.11 or newer with pip; a target that needs the
# virtual environment makes it, and makes it again only when pyproject.toml or constraints.txt
# changed.  Another place or another Python: `make test VENV=/tmp/venv PYTHON=python3.12`.

PYTHON ?= python3
VENV   ?= .venv
# `make test ARGS="-k window -x"`, `make up ARGS="--workers 4"`
ARGS   ?=
FUZZ_CASES ?= 20000

BIN    := $(VENV)/bin
# -qq keeps pip to its errors: the lines of this file say how far the set-up is.
PIP    := $(BIN)/pip --disable-pip-version-check install -qq -c constraints.txt

.DEFAULT_GOAL := help
# Two installs into one venv would trip over each other.
.NOTPARALLEL:

## help: list the targets
.PHONY: help
help:
	@echo "make <target>, where <target> is one of"
	@sed -n 's/^## \([a-z-]*\): /    \1|/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%s  %s\n", substr($$1 "                ", 1, 18), $$2}'

# --- Run it

## demo: ask twenty questions and kill a worker; no answer is lost
.PHONY: demo
demo: $(VENV)/model.stamp
	@$(BIN)/penstock demo $(ARGS)

## up: an embedded Redis, the queue service and workers, in this terminal
.PHONY: up
up: $(VENV)/run.stamp
	@$(BIN)/penstock up $(ARGS)

# --- Check it

## check: the gate: format, lint, types, layers, lua and test
.PHONY: check
check: lint types layers lua test

## test: every test, in three processes; those that need a Docker engine skip where none runs
.PHONY: test
test: $(VENV)/dev.stamp $(VENV)/model.stamp $(VENV)/moto.stamp $(VENV)/openapi.stamp
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

## test-cpu: which tests use the processor most: ARGS=tests/deploy
.PHONY: test-cpu
test-cpu: $(VENV)/dev.stamp $(VENV)/model.stamp
	$(BIN)/python -m pytest -p tests.cpu_times -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

## s3-server: moto's server for the tests of files in S3, in a separate environment
.PHONY: s3-server
s3-server: $(VENV)/moto.stamp

## openapi-client: the generator of clients for the test of openapi.json, in a separate environment
.PHONY: openapi-client
openapi-client: $(VENV)/openapi.stamp

## quick: the tests that need no other process, with a Redis inside the test run: under a minute
.PHONY: quick
quick: $(VENV)/dev.stamp
	$(BIN)/python -m pytest --quick -n 2 $(ARGS)

## faults: the kill matrix, a quarter of an hour: ARGS="--minutes 5", ARGS="--seed 1"
.PHONY: faults
faults: $(VENV)/dev.stamp
	$(BIN)/python -m tests.faults $(ARGS)

## seeded-bugs: put defects into a copy of the product; the kill matrix has to find each
.PHONY: seeded-bugs
seeded-bugs: $(VENV)/dev.stamp
	$(BIN)/python -m tests.faults.seeded $(ARGS)

## soak: half an hour of mixed load, and whether anybody's memory grows: ARGS="--minutes 2"
.PHONY: soak
soak: $(VENV)/dev.stamp
	$(BIN)/python -m tests.faults.soak $(ARGS)

## compat: only the tests with Alibaba's own clients
.PHONY: compat
compat: $(VENV)/dev.stamp
	$(BIN)/python -m pytest tests/compatibility $(ARGS)

## openai2: OpenAI's client before 3.0, beside that of the environment, for the tests of batches
.PHONY: openai2
openai2: $(VENV)/dev.stamp
	$(BIN)/pip install -qq --upgrade --target .openai2 'openai==2.54.0'

## fuzz: 20,000 generated requests, messages and bytes (a few minutes); FUZZ_CASES=n for another number
.PHONY: fuzz
fuzz: $(VENV)/dev.stamp
	PENSTOCK_FUZZ_CASES=$(FUZZ_CASES) $(BIN)/python -m pytest tests/fuzz tests/tenants/test_random.py --timeout 3600 --durations 10 $(ARGS)

## containers: the tests of containers and of several machines, on the Docker engine of this machine
.PHONY: containers
containers: $(VENV)/dev.stamp
	$(BIN)/python -m pytest tests/containers tests/machines $(ARGS)

## bench: the benchmarks, with the ratios of docs/performance.md
.PHONY: bench
bench: $(VENV)/dev.stamp
	$(BIN)/python -m tests.benchmarks $(ARGS)

## lint: format and style of the Python code, spelling of everything
.PHONY: lint
lint: $(VENV)/dev.stamp
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/codespell

## format: format the code and fix what ruff can fix
.PHONY: format
format: $(VENV)/dev.stamp
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

## types: mypy, strict, over the packages and the tests
.PHONY: types
types: $(VENV)/dev.stamp
	$(BIN)/mypy

## layers: check the imports between packages and layers
.PHONY: layers
layers: $(VENV)/dev.stamp
	$(BIN)/lint-imports

## lua: syntax, names and declarations of the store's scripts
.PHONY: lua
lua: $(VENV)/dev.stamp
	$(BIN)/python -m tests.queue_service.store.lua.check

# --- Make it

## venv: the virtual environment with all a developer needs
.PHONY: venv install
venv install: $(VENV)/dev.stamp

## proto: the Python of the .proto files (after a change of one of them)
.PHONY: proto
proto: $(VENV)/dev.stamp
	$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. client_sdk/wire/proto/*.proto

## docs: the generated tables: settings, commands, files (after a change of one of them)
.PHONY: docs
docs: $(VENV)/dev.stamp
	$(BIN)/python -m tests.documents

## docs-site: the documentation as a searchable site, in build/site
.PHONY: docs-site
docs-site: $(VENV)/dev.stamp
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "open build/site/index.html, or serve it: $(BIN)/python -m http.server -d build/site 8000"

## lock: constraints.txt, from the newest versions that pyproject.toml admits
.PHONY: lock
lock:
	@echo "penstock: resolving in a venv of its own; this takes some minutes"
	@set -e; folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	$(PYTHON) -m venv "$$folder"; \
	"$$folder/bin/pip" install -qq "$$(grep '^torch==' constraints.txt)"; \
	"$$folder/bin/pip" install -qq -e '.[dev,diffusers,video]'; \
	sed '/^[^#]/,$$d' constraints.txt > "$$folder/constraints.txt"; \
	"$$folder/bin/pip" freeze --exclude-editable | sed 's/+cpu//' >> "$$folder/constraints.txt"; \
	cp "$$folder/constraints.txt" constraints.txt

## clean: remove the virtual environment and every cache
.PHONY: clean
clean:
	rm -rf $(VENV) .openai2 build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- Stamps: a venv is as old as the last file that describes it

$(VENV)/venv.stamp:
	@$(PYTHON) -c 'import sys; sys.exit("Penstock needs Python 3.11 or newer; this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	@echo "penstock: making a virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

# What runs, and no development tools.
$(VENV)/run.stamp: $(VENV)/venv.stamp pyproject.toml constraints.txt
	@echo "penstock: installing the packages (half a minute)"
	@$(PIP) -e '.[local]'
	@touch $@

$(VENV)/dev.stamp: $(VENV)/venv.stamp pyproject.toml constraints.txt
	@echo "penstock: installing the packages and the development tools (about a minute)"
	@$(PIP) -e '.[dev]'
	@touch $@

# In a separate environment: botocore, which moto needs, requires an older python-dateutil.
$(VENV)/moto.stamp: $(VENV)/venv.stamp tests/s3_server_constraints.txt
	@echo "penstock: installing moto's server, for the tests of files in S3"
	@$(BIN)/python -m venv $(VENV)/moto
	@$(VENV)/moto/bin/pip --disable-pip-version-check install -qq -c tests/s3_server_constraints.txt 'moto[s3]' flask flask-cors
	@touch $@

# In a separate environment: openapi-python-client requires an older typer.
$(VENV)/openapi.stamp: $(VENV)/venv.stamp tests/openapi_client_constraints.txt
	@echo "penstock: installing openapi-python-client, for the test of openapi.json"
	@$(BIN)/python -m venv $(VENV)/openapi
	@$(VENV)/openapi/bin/pip --disable-pip-version-check install -qq -c tests/openapi_client_constraints.txt openapi-python-client
	@touch $@

# torch goes first and by its exact version: where the package index or a local folder offers a
# CPU build of it, pip then takes that one instead of some gigabytes of CUDA libraries.
$(VENV)/model.stamp: $(VENV)/venv.stamp pyproject.toml constraints.txt
	@echo "penstock: installing torch (once; 200 MB for a CPU build, more with CUDA)"
	@$(PIP) "$$(grep '^torch==' constraints.txt)"
	@echo "penstock: installing the packages and transformers (about a minute)"
	@$(PIP) -e '.[local,transformers]'
	@touch $@
