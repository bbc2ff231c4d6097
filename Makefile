# Everything there is to do with this tree. `make help` lists it; `make demo` and `make test` set up what they need.

PYTHON ?= python3
VENV ?= .venv
EXTRAS ?= daemon,dev
JOBS ?= 4
ROUNDS ?= 500
ARGS ?=

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

BIN := $(VENV)/bin
READY := $(VENV)/.ready
PYTEST := $(BIN)/python -m pytest
FAST := -m "not slow and not foreign"
GRPCURL_VERSION := v1.9.3
NODE_PACKAGES := tests/foreign/node/package.json
export PATH := $(abspath $(BIN)):$(abspath .tools/bin):$(PATH)
export NODE_PATH := $(abspath .tools/node/node_modules)

.PHONY: help setup demo test test-fast test-memory test-files test-registry test-slow foreign-tools check format format-check \
	lint types imports proto-fresh proto-lint generate crash bench walk wheel clean

help: ## List the targets
	@echo "Usage: make TARGET [PYTHON=python3.12] [ARGS='…']"
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "Examples:"
	@echo "  make demo                              eight agents, two kills, nothing lost"
	@echo "  make demo TRAJECTORIES=talks.json      the same with recorded conversations"
	@echo "  make test-memory ARGS='-k filter -x'   the tests with filter in their name; stop at the first failure"
	@echo "  make crash ROUNDS=50                   the short form of the crash tier"

# The environment. Remade when what it is made from has changed; otherwise a second `make` costs nothing.
setup: $(READY) ## Make .venv with everything that pip brings

$(READY): pyproject.toml packaging/constraints.txt packaging/setup-venv.sh
	@packaging/setup-venv.sh "$(PYTHON)" "$(VENV)" "$(EXTRAS)"
	@touch $@

demo: setup ## Eight agents on one store; one of them and the daemon are killed; nothing acknowledged is lost
	@$(BIN)/python -m holdfast.demo $(ARGS)

test: test-fast test-registry test-slow ## All tests but the crash tier

test-fast: test-memory test-files ## The fast tier, in memory and then on files

test-memory: setup
	HOLDFAST_TEST_PERSISTENCE=memory $(PYTEST) $(FAST) -n $(JOBS) -q $(ARGS)

test-files: setup
	HOLDFAST_TEST_PERSISTENCE=sqlite $(PYTEST) $(FAST) -n $(JOBS) -q $(ARGS)

# Every kind with values of every sort in memory too: half a minute. The scenarios, stories of stores that last, stay on files.
test-registry: setup
	HOLDFAST_TEST_PERSISTENCE=memory $(PYTEST) tests/registry -n $(JOBS) -q $(ARGS)

test-slow: setup foreign-tools
	HOLDFAST_TEST_PERSISTENCE=sqlite $(PYTEST) -m "slow or foreign" -n $(JOBS) -q $(ARGS)

# grpcurl and the Node packages, where Go and npm are. Elsewhere their tests are skipped by name, and fail in CI.
foreign-tools:
	@if command -v go >/dev/null; then $(MAKE) --no-print-directory .tools/bin/grpcurl || $${CI:-false}; fi
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory .tools/node/.ready || $${CI:-false}; fi

.tools/bin/grpcurl:
	@echo "setup: building grpcurl $(GRPCURL_VERSION) (a minute)"
	@GOBIN=$(abspath .tools/bin) go install github.com/fullstorydev/grpcurl/cmd/grpcurl@$(GRPCURL_VERSION)

.tools/node/.ready: $(NODE_PACKAGES)
	@packaging/need.sh npm npm "buf, which lints the contract, and the Node client of the tests come from npm."
	@mkdir -p .tools/node
	@cp $(NODE_PACKAGES) .tools/node/
	@cd .tools/node && npm install --silent --no-audit --no-fund --no-package-lock
	@touch $@

check: format-check lint types imports proto-fresh proto-lint ## Format, lint, types, import layers, generated code, contract

format: setup ## Format the Python code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

format-check: setup
	$(BIN)/ruff format --check .

lint: setup
	$(BIN)/ruff check .

types: setup
	$(BIN)/mypy

imports: setup
	$(BIN)/lint-imports --no-logo

proto-fresh: setup
	packaging/generate.sh --check

proto-lint: .tools/node/.ready
	.tools/node/node_modules/.bin/buf lint proto

generate: setup ## Generate client/holdfast/v1 from proto/
	packaging/generate.sh

crash: setup ## Kill daemons at every durability step and check what is left (ROUNDS=500)
	$(BIN)/python -m tests.crash --rounds $(ROUNDS) $(ARGS)

bench: setup ## The table of the benchmarks, each beside its rivals
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint packaging/constraints.txt --editable ".[bench]"
	$(BIN)/python -m tests.bench $(ARGS)

walk: setup ## Count the files that an append and a delta save cross (ARGS=--list names them)
	@$(BIN)/python -m tests.walk $(ARGS)

wheel: setup ## Build the wheel into dist/
	$(BIN)/python -m build --wheel

clean: ## Remove what was built, but not .venv and .tools
	rm -rf dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
