# `make help` lists the targets. Two virtual environments, each made once and again when its lock changes:
#   .venv       what serving needs and nothing else
#   .venv-test  serving, training and the checkers; `make test`, `train` and `bench` use it
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

# On many machines Python 3.11 is only `python3`, and a `python3.11` on the path may be a shim that fails.
FIND_PYTHON := for p in python3.11 python3 python; do \
	$$p -c 'import ensurepip, sys, venv; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null && echo $$p && exit; \
	done; true
PYTHON ?= $(shell $(FIND_PYTHON))

SERVE := .venv/.installed-$(VARIANT)
TEST  := .venv-test/.installed

.PHONY: help serve test lint train bench demo lock clean

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

serve: $(SERVE)  ## serve the shipped bundle (PORT, VARIANT=cpu|gpu|openvino)
	PASSLINE_PORT=$(PORT) .venv/bin/python -m app serve

test: lint  ## everything CI checks: format, lint, types, layers, tests
	.venv-test/bin/python -m pytest $(PYTEST_ARGS)

lint: $(TEST)  ## the checks without the tests
	.venv-test/bin/ruff check .
	.venv-test/bin/ruff format --check .
	.venv-test/bin/mypy
	.venv-test/bin/lint-imports

train: $(TEST)  ## train, evaluate and publish a bundle (DATA, CONFIG, TRAIN_ARGS)
	.venv-test/bin/python -m training run --config $(CONFIG) --data $(DATA) $(TRAIN_ARGS)

bench: $(TEST)  ## latency, throughput and memory of the shipped bundle, into docs/benchmarks.md
	.venv-test/bin/python -m tests.benchmarks $(BENCH_ARGS)

# Whatever VARIANT .venv was made for will do: the demo only talks to the service, and must not replace
# the environment under its feet.
demo:  ## post sample pictures to the service on PORT: a table of verdicts, overlays in demo/
	@test -x .venv/bin/python || $(MAKE) $(SERVE)
	.venv/bin/python -m app demo --url http://127.0.0.1:$(PORT)

# The locks list the hashes of every build of each pinned release, so pip verifies whatever wheel it picks.
LOCK := .venv-lock/bin/uv pip compile --quiet --generate-hashes --python-version 3.11 \
	--python-platform x86_64-manylinux_2_28 --custom-compile-command 'make lock' --upgrade pyproject.toml
lock:  ## resolve pyproject.toml anew into requirements/*.txt
	test -x .venv-lock/bin/uv || { $(PYTHON) -m venv .venv-lock && .venv-lock/bin/pip install --quiet uv==0.13.9; }
	$(LOCK) --extra cpu --output-file requirements/serve-cpu.txt
	$(LOCK) --extra gpu --constraint requirements/serve-cpu.txt --output-file requirements/serve-gpu.txt
	$(LOCK) --extra openvino --constraint requirements/serve-cpu.txt --output-file requirements/serve-openvino.txt
	$(LOCK) --extra cpu --extra train --extra mlflow --extra dev --constraint requirements/serve-cpu.txt \
		--output-file requirements/dev.txt

clean:  ## remove the virtual environments and caches
	rm -rf .venv .venv-test .venv-lock .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

# --clear: after an interrupted set-up, or a change of VARIANT, nothing of the old one is left.
define install
	@test -n "$(PYTHON)" || { echo "Python 3.11 with its venv module is needed (Debian: apt install python3-venv)" >&2; exit 1; }
	@echo "Setting up $(@D) from $< (once)"
	@$(PYTHON) -m venv --clear $(@D)
	@$(@D)/bin/python -m pip install --quiet --no-deps --only-binary :all: --require-hashes -r $<
	@touch $@
endef

.venv/.installed-%: requirements/serve-%.txt
	$(install)

$(TEST): requirements/dev.txt
	$(install)
