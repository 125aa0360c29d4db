# `make help` lists the targets. Four environments, each set up once, and again when its lock changes or
# this folder moves: .venv serves, .venv-test trains, tests and checks, .venv-peers has the other servers of
# `make bench`, .venv-import has datumaro, which reads more formats of annotation tools.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# ONNX Runtime reports to its maker from its first import on; only this variable stops that early enough.
export ORT_DISABLE_TELEMETRY := 1

VARIANT ?= cpu
PORT    ?= $(or $(PASSLINE_PORT),8000)
CONFIG  ?= training/configs/magnetic-tile.yaml
DATA    ?= data/magnetic-tile
TEST_PROCESSES ?= 2
FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?= picture reference_mask recipe bundle graph arrays form

# Python 3.11 may be only `python3`, and a `python3.11` on the path may be a shim that fails.
PYTHON ?= $(shell for p in python3.11 python3 python; do $$p -c \
	'import ensurepip, sys, venv; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null \
	&& echo $$p && exit; done)

# An environment names this folder in its scripts, so it is set up for this folder alone.
HERE  := $(shell pwd | cksum | cut -d' ' -f1)
SERVE := .venv/.installed-$(VARIANT)-$(HERE)
TEST  := .venv-test/.installed-$(HERE)
PEERS := .venv-peers/.installed-$(HERE)
IMPORT := .venv-import/.installed-$(HERE)
BIN   := .venv-test/bin

.PHONY: help serve station test test-slow lint train import bench soak demo fuzz audit lock clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 11

serve: $(SERVE)  ## serve the shipped bundle (PORT, VARIANT=cpu|gpu|openvino)
	PASSLINE_PORT=$(PORT) .venv/bin/passline serve

station:  ## build the operator's station (needs Node 20.19 or later)
	cd app/station && npm ci --no-audit --no-fund && npm test && npm run build

# Torch spins all its threads: in processes beside each other more than one each only gets in the way.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(TEST_PROCESSES) --dist loadfile \
	--no-loadscope-reorder

test: lint  ## format, lint, types, layers and all but the slow tests (TEST_PROCESSES, PYTEST_ARGS)
	$(PYTEST) -m "not slow" $(PYTEST_ARGS)

test-slow: $(TEST)  ## real networks, whole pipelines, a short soak (TEST_PROCESSES, PYTEST_ARGS)
	$(PYTEST) -m slow $(PYTEST_ARGS)

lint: $(TEST)  ## the checks without the tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

train: $(TEST)  ## train, evaluate and publish a bundle (DATA, CONFIG, TRAIN_ARGS)
	$(BIN)/passline train run --config $(CONFIG) --data $(DATA) $(TRAIN_ARGS)

import: $(IMPORT)  ## set up datumaro, for `passline train data import --format datumaro:NAME`

bench: $(TEST) $(PEERS)  ## speed and memory against other servers, into docs/benchmarks.md (BENCH_ARGS)
	$(BIN)/python -m tests.benchmarks $(BENCH_ARGS)

soak: $(TEST)  ## half an hour of good and bad requests, half an hour of attacks (SOAK_ARGS)
	$(BIN)/python -m tests.benchmarks.soak $(SOAK_ARGS)
	$(BIN)/python -m tests.benchmarks.attacked $(SOAK_ARGS)

# Any VARIANT will do for a client, and the environment of the running service must not be replaced.
demo: $(if $(wildcard .venv/.installed-*-$(HERE)),,$(SERVE))  ## post sample images to the service on PORT
	.venv/bin/passline demo --url http://127.0.0.1:$(PORT)

fuzz: $(FUZZ_TARGETS:%=fuzz-%)  ## look for inputs that crash what reads them (FUZZ_SECONDS, FUZZ_TARGETS)

# A crash is written where the corpus is, so that the tests replay it from then on.
fuzz-%: $(TEST)
	@mkdir -p .fuzz_cache/$*
	$(BIN)/python -m tests.fuzz $* -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=2048 \
		-artifact_prefix=tests/fuzz/corpus/$*/found- .fuzz_cache/$* tests/fuzz/corpus/$*

audit: $(TEST)  ## ask the internet for known vulnerabilities of the locked packages
	for lock in requirements/*.txt; do \
		$(BIN)/uv tool run pip-audit@2.10.1 --strict --disable-pip --require-hashes --requirement $$lock; done

# BentoML needs parts of OpenTelemetry of one release, of which FastAPI's choice may be ahead.
# What the service can use where a setting asks for it: an image for a box without internet has it all.
PARTS := postgresql oidc s3 parquet
LOCK = $(BIN)/uv pip compile --quiet --upgrade -o requirements/$(1).txt $(2:%=--extra %)
lock: $(TEST)  ## resolve pyproject.toml anew into requirements/*.txt
	$(call LOCK,serve-cpu,cpu $(PARTS)) pyproject.toml
	$(call LOCK,build) --group build -c requirements/serve-cpu.txt
	$(call LOCK,serve-gpu,gpu $(PARTS)) pyproject.toml -c requirements/serve-cpu.txt
	$(call LOCK,serve-openvino,openvino $(PARTS)) pyproject.toml -c requirements/serve-cpu.txt
	$(call LOCK,dev,cpu train mlflow otel $(PARTS) dev) pyproject.toml -c requirements/serve-cpu.txt \
		-c requirements/build.txt
	$(call LOCK,peers,cpu peers) pyproject.toml -c requirements/build.txt --no-annotate \
		-c <(grep -o '^[a-z].*==[^ ]*' requirements/serve-cpu.txt | grep -v '^opentelemetry-')
	$(call LOCK,import) --group import -c requirements/build.txt

clean:  ## remove the virtual environments and caches
	rm -rf .venv .venv-* .*_cache .hypothesis

PIP = $(@D)/bin/python -m pip install --quiet --no-deps
$(SERVE): requirements/serve-$(VARIANT).txt
$(TEST): requirements/dev.txt
$(PEERS): requirements/peers.txt
$(IMPORT): requirements/import.txt
# --clear: after an interrupted set-up, or a change of VARIANT, nothing of the old one is left.
# --no-compile: most of what comes along with torch is never imported.
$(SERVE) $(TEST) $(PEERS) $(IMPORT): requirements/build.txt
	$(if $(PYTHON),,$(error Python 3.11 with its venv module is needed (Debian: apt install python3-venv)))
	@echo "Setting up $(@D) (once)"
	@$(PYTHON) -m venv --clear $(@D)
	@$(PIP) --only-binary :all: --no-compile --require-hashes $(^:%=-r %)
	@$(PIP) --no-build-isolation --editable .
	@touch $@
