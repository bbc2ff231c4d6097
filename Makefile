# All tasks of this tree. `make help` lists them; each target installs what it needs first.

PYTHON ?= python3
VENV ?= .venv
EXTRAS ?= daemon,dev
JOBS ?= 4
ROUNDS ?= 500
ARGS ?=
COMMIT ?=

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

BIN := $(VENV)/bin
READY := $(VENV)/.ready
PYTEST := $(BIN)/python -m pytest
FAST := -m "not slow and not foreign"
GRPCURL_VERSION := v1.9.3
NODE_PACKAGES := tests/foreign/node/package.json
BUF := .tools/node/node_modules/.bin/buf
LANDED := proto/landed
export PATH := $(abspath $(BIN)):$(abspath .tools/bin):$(PATH)
export NODE_PATH := $(abspath .tools/node/node_modules)

.PHONY: help setup demo test test-fast test-memory test-files test-registry test-slow foreign-tools check format format-check \
	lint types imports proto-fresh proto-lint proto-breaking generate generate-async contract-landed crash bench walk wheel clean

help: ## List the targets
	@echo "Usage: make TARGET [PYTHON=python3.12] [ARGS='…']"
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "Examples:"
	@echo "  make demo                              eight agents, two kills, nothing lost"
	@echo "  make demo TRAJECTORIES=talks.json      the same with recorded conversations"
	@echo "  make test-memory ARGS='-k filter -x'   the tests with filter in their name; stop at the first failure"
	@echo "  make crash ROUNDS=50                   the short form of the crash tier"

# The environment. Made again only when one of these files has changed.
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

# The tests of every kind, in memory; test-slow runs them on files. Half a minute.
test-registry: setup
	HOLDFAST_TEST_PERSISTENCE=memory $(PYTEST) tests/registry -n $(JOBS) -q $(ARGS)

test-slow: setup foreign-tools
	HOLDFAST_TEST_PERSISTENCE=sqlite $(PYTEST) -m "slow or foreign" -n $(JOBS) -q $(ARGS)

# grpcurl and the Node packages, where Go and npm are installed. Elsewhere the tests that need them are skipped, and fail in CI.
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

check: format-check lint types imports proto-fresh proto-lint proto-breaking ## Format, lint, types, import layers, generated code, contract

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
	$(BUF) lint proto

# Compares with an image in the tree, so that it works in a clone without history.
proto-breaking: .tools/node/.ready
	$(BUF) breaking proto --against $(LANDED)/contract.json

generate: setup ## Generate client/holdfast/v1 from proto/, and client/holdfast/nouns.py
	packaging/generate.sh

contract-landed: .tools/node/.ready ## Take the contract of COMMIT, the version that landed last, as what proto-breaking compares with
	@test -n "$(COMMIT)" || { echo "usage: make contract-landed COMMIT=<commit that landed>" >&2; exit 1; }
	rm -rf build/landed && mkdir -p build/landed $(LANDED)
	git archive "$(COMMIT)" proto | tar -x -C build/landed
	$(BUF) build build/landed/proto --exclude-source-info --output $(LANDED)/contract.json
	git rev-parse --verify "$(COMMIT)^{commit}" > $(LANDED)/commit

generate-async: setup ## Generate the asynchronous records and transcripts that tests/async_client runs
	$(BIN)/python packaging/make_async.py

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
