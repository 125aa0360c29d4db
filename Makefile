# `make help` lists the targets. Virtual environments, each made once and again when its lock changes:
#   .venv       what serving needs and nothing else
#   .venv-test  serving, training and the checkers; `make test`, `test-slow`, `train` and `bench` use it
#   .venv-peers the other servers that `make bench` holds the service against
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

# On many machines Python 3.11 is only `python3`, and a `python3.11` on the path may be a shim that fails.
FIND_PYTHON := for p in python3.11 python3 python; do \
	$$p -c 'import ensurepip, sys, venv; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null && echo $$p && exit; \
	done; true
PYTHON ?= $(shell $(FIND_PYTHON))

SERVE := .venv/.installed-$(VARIANT)
TEST  := .venv-test/.installed
PEERS := .venv-peers/.installed

FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?= picture reference_mask recipe bundle form

.PHONY: help serve test test-slow lint train bench soak demo fuzz audit lock clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 11

serve: $(SERVE)  ## serve the shipped bundle (PORT, VARIANT=cpu|gpu|openvino)
	PASSLINE_PORT=$(PORT) .venv/bin/python -m app serve

# Torch spins all its threads: in processes beside each other more than one each only gets in the way.
PYTEST := OMP_NUM_THREADS=1 .venv-test/bin/python -m pytest --numprocesses $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder

test: lint  ## format, lint, types, layers and all but the slow tests (TEST_PROCESSES, PYTEST_ARGS)
	$(PYTEST) -m "not slow" $(PYTEST_ARGS)

test-slow: $(TEST)  ## the slow tests: real networks, whole pipelines, the short soak (TEST_PROCESSES, PYTEST_ARGS)
	$(PYTEST) -m slow $(PYTEST_ARGS)

lint: $(TEST)  ## the checks without the tests
	.venv-test/bin/ruff check .
	.venv-test/bin/ruff format --check .
	.venv-test/bin/mypy
	.venv-test/bin/lint-imports

train: $(TEST)  ## train, evaluate and publish a bundle (DATA, CONFIG, TRAIN_ARGS)
	.venv-test/bin/python -m training run --config $(CONFIG) --data $(DATA) $(TRAIN_ARGS)

bench: $(TEST) $(PEERS)  ## speed and memory, alone and against other servers, into docs/benchmarks.md (BENCH_ARGS)
	.venv-test/bin/python -m tests.benchmarks $(BENCH_ARGS)

soak: $(TEST)  ## half an hour of good and bad requests: does the service grow? (SOAK_ARGS)
	.venv-test/bin/python -m tests.benchmarks.soak $(SOAK_ARGS)

# Whatever VARIANT .venv was made for will do: the demo only talks to the service, and must not replace
# the environment under its feet.
demo:  ## post sample pictures to the service on PORT: a table of verdicts, overlays in demo/
	@test -x .venv/bin/python || $(MAKE) $(SERVE)
	.venv/bin/python -m app demo --url http://127.0.0.1:$(PORT)

# A crash is written where the corpus is, so that the tests replay it from then on.
fuzz: .venv-fuzz/.installed  ## look for inputs that crash what reads them (FUZZ_SECONDS each, FUZZ_TARGETS)
	for target in $(FUZZ_TARGETS); do \
		mkdir -p .fuzz_cache/$$target; \
		.venv-fuzz/bin/python -m tests.fuzz $$target -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=2048 \
			-artifact_prefix=tests/fuzz/corpus/$$target/found- .fuzz_cache/$$target tests/fuzz/corpus/$$target; \
	done

.venv-fuzz/.installed: requirements/serve-cpu.txt
	$(install)
	@$(@D)/bin/python -m pip install --quiet --no-deps --only-binary :all: atheris==3.0.0 || { rm $@; exit 1; }

# What is known to be wrong with the releases in the locks; asks the internet.
audit:  ## look up the locked packages in the database of known vulnerabilities
	test -x .venv-audit/bin/pip-audit || { $(PYTHON) -m venv .venv-audit && .venv-audit/bin/pip install --quiet pip-audit==2.10.1; }
	for lock in requirements/*.txt; do .venv-audit/bin/pip-audit --strict --disable-pip --require-hashes --requirement $$lock; done

# The locks list the hashes of every build of each pinned release, so pip verifies whatever wheel it picks.
LOCK := .venv-lock/bin/uv pip compile --quiet --generate-hashes --python-version 3.11 \
	--python-platform x86_64-manylinux_2_28 --custom-compile-command 'make lock' --upgrade pyproject.toml
# BentoML needs parts of OpenTelemetry of one release, of which FastAPI's choice may be ahead.
SERVED_TO_PEERS := grep -oE '^[a-z0-9._-]+==[^ ;]+' requirements/serve-cpu.txt | grep -v '^opentelemetry-'
# Torch's compiler for GPUs takes close to a gigabyte, and nothing here compiles.
UNUSED := --no-emit-package triton
lock:  ## resolve pyproject.toml anew into requirements/*.txt
	test -x .venv-lock/bin/uv || { $(PYTHON) -m venv .venv-lock && .venv-lock/bin/pip install --quiet uv==0.13.9; }
	$(LOCK) --extra cpu --output-file requirements/serve-cpu.txt
	$(LOCK) --extra gpu --constraint requirements/serve-cpu.txt --output-file requirements/serve-gpu.txt
	$(LOCK) --extra openvino --constraint requirements/serve-cpu.txt --output-file requirements/serve-openvino.txt
	$(LOCK) --extra cpu --extra train --extra mlflow --extra otel --extra dev --constraint requirements/serve-cpu.txt \
		$(UNUSED) --output-file requirements/dev.txt
	$(LOCK) --extra cpu --extra peers --constraint <($(SERVED_TO_PEERS)) --no-annotate \
		--output-file requirements/peers.txt

clean:  ## remove the virtual environments and caches
	rm -rf .venv .venv-test .venv-peers .venv-lock .venv-fuzz .venv-audit .pytest_cache .mypy_cache .ruff_cache \
		.import_linter_cache .hypothesis .fuzz_cache

# --clear: after an interrupted set-up, or a change of VARIANT, nothing of the old one is left.
define install
	@test -n "$(PYTHON)" || { echo "Python 3.11 with its venv module is needed (Debian: apt install python3-venv)" >&2; exit 1; }
	@echo "Setting up $(@D) from $< (once)"
	@$(PYTHON) -m venv --clear $(@D)
	@$(@D)/bin/python -m pip install --quiet --no-deps --only-binary :all: --require-hashes $(COMPILE) -r $<
	@touch $@
endef

.venv/.installed-%: requirements/serve-%.txt
	$(install)

$(TEST): COMPILE := --no-compile  # most of what comes along with torch is never imported
$(TEST): requirements/dev.txt
	$(install)

$(PEERS): requirements/peers.txt
	$(install)
