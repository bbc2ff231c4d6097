# The development tasks. `make help` lists them. Each target first installs what it needs.

PYTHON ?= python3
VENV ?= .venv
EXTRAS ?= daemon,dev
JOBS ?= 4
ROUNDS ?= 500
STATES ?= 2000
PARTS ?=
ARGS ?=
COMMIT ?=

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

BIN := $(VENV)/bin
READY := $(VENV)/.ready
PYTEST := $(BIN)/python -m pytest --dist worksteal
FAST := -m "not slow and not foreign"
GRPCURL_VERSION := v1.9.3
NODE_PACKAGES := tests/foreign/node/package.json
BUF := .tools/node/node_modules/.bin/buf
LANDED := proto/landed
export PATH := $(abspath $(BIN)):$(abspath .tools/bin):$(PATH)
export NODE_PATH := $(abspath .tools/node/node_modules)

.PHONY: help setup demo test test-fast test-memory test-files test-registry test-slow foreign-tools check format format-check \
	lint types imports proto-fresh proto-lint proto-breaking generate generate-async contract-landed crash powerfail \
	powerfail-breaks abuse bench walk wheel clean

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
	@echo "  make powerfail STATES=200              the short form of the power-cut tier"
	@echo "  make powerfail ARGS='--seed 7 --only first,puts'"
	@echo "  make powerfail ARGS=--help             how to make a failing state again"
	@echo "  make abuse ARGS=--short                the short form of the abuse tier"

# Runs again only after one of the prerequisites has changed.
setup: $(READY) ## Create .venv and install the daemon, the client and the development tools with pip

$(READY): pyproject.toml packaging/constraints.txt packaging/setup-venv.sh
	@packaging/setup-venv.sh "$(PYTHON)" "$(VENV)" "$(EXTRAS)"
	@touch $@

demo: setup ## Run eight agents on one store; kill an agent and the daemon; check that no acknowledged write is lost
	@$(BIN)/python -m holdfast.demo $(ARGS)

test: test-fast test-registry test-slow ## Run all tests except the tiers of their own: crash, powerfail, abuse

test-fast: test-memory test-files ## Run the fast tests, in memory and then on files

test-memory: setup ## Run the fast tests in memory
	HOLDFAST_TEST_PERSISTENCE=memory $(PYTEST) $(FAST) -n $(JOBS) -q $(ARGS)

test-files: setup ## Run those of the fast tests that use the shared daemon again, on files
	HOLDFAST_TEST_PERSISTENCE=sqlite $(PYTEST) -m "shared_daemon and not slow and not foreign" -n $(JOBS) -q $(ARGS)

# Runs the tests of every kind in memory (some seconds); test-slow runs them on files.
test-registry: setup ## Run the tests of every kind, in memory
	HOLDFAST_TEST_PERSISTENCE=memory $(PYTEST) tests/registry -n $(JOBS) -q $(ARGS)

test-slow: setup foreign-tools ## Run the slow tests, and those of other languages' clients
	HOLDFAST_TEST_PERSISTENCE=sqlite $(PYTEST) -m "slow or foreign" -n $(JOBS) -q $(ARGS)

# Installs grpcurl if Go is installed, and the Node packages if npm is. Without them, the tests that need them are skipped; in CI
# this target fails.
foreign-tools:
	@if command -v go >/dev/null; then $(MAKE) --no-print-directory .tools/bin/grpcurl || $${CI:-false}; fi
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory .tools/node/.ready || $${CI:-false}; fi

.tools/bin/grpcurl:
	@echo "setup: building grpcurl $(GRPCURL_VERSION) (a minute)"
	@GOBIN=$(abspath .tools/bin) go install github.com/fullstorydev/grpcurl/cmd/grpcurl@$(GRPCURL_VERSION)

.tools/node/.ready: $(NODE_PACKAGES)
	@packaging/need.sh npm npm "npm installs buf, which lints the contract, and the Node client of the tests."
	@mkdir -p .tools/node
	@cp $(NODE_PACKAGES) .tools/node/
	@cd .tools/node && npm install --silent --no-audit --no-fund --no-package-lock
	@touch $@

check: format-check lint types imports proto-fresh proto-lint proto-breaking ## Check format, lint, types, import layers, generated code and contract

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

# Compares with an image that is committed, because a shallow clone has no history.
proto-breaking: .tools/node/.ready
	$(BUF) breaking proto --against $(LANDED)/contract.json

generate: setup ## Generate client/holdfast/v1 from proto/, values/views.pyi and nouns.py
	packaging/generate.sh

contract-landed: .tools/node/.ready ## Make the contract of COMMIT, which landed last, the reference of proto-breaking
	@test -n "$(COMMIT)" || { echo "usage: make contract-landed COMMIT=<commit that landed>" >&2; exit 1; }
	rm -rf build/landed && mkdir -p build/landed $(LANDED)
	git archive "$(COMMIT)" proto | tar -x -C build/landed
	$(BUF) build build/landed/proto --exclude-source-info --output $(LANDED)/contract.json
	git rev-parse --verify "$(COMMIT)^{commit}" > $(LANDED)/commit

generate-async: setup ## Generate the asynchronous records and transcripts that tests/async_client tests
	$(BIN)/python packaging/make_async.py

crash: setup ## Kill daemons at every durability step and check the stores afterwards (ROUNDS=500)
	$(BIN)/python -m tests.crash --rounds $(ROUNDS) $(ARGS)

# Needs Linux with FUSE, and root or user namespaces; says what is missing.
powerfail: setup ## Cut the power of the daemon's disk, in a model, and check the stores afterwards (STATES=2000)
	@$(BIN)/python -m tests.powerfail --states $(STATES) $(ARGS)

powerfail-breaks: setup ## Check that the power-cut tier finds each of nine deliberate breaks of the daemon
	@$(BIN)/python -m tests.powerfail --breaks $(ARGS)

# Some cases need root, to mount a full disk; prlimit and setpriv are util-linux.
abuse: setup ## Attack daemons: malformed calls, floods, overload, limits, damaged files (PARTS="fuzz floods", ARGS=--short)
	$(BIN)/python -m tests.abuse $(PARTS) $(ARGS)

bench: setup ## Run the benchmarks and print each beside its rivals
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint packaging/constraints.txt --editable ".[bench]"
	$(BIN)/python -m tests.bench $(ARGS)

walk: setup ## Count the files that an append and a delta save cross (ARGS=--list names them)
	@$(BIN)/python -m tests.walk $(ARGS)

wheel: setup ## Build the wheel into dist/
	$(BIN)/python -m build --wheel

clean: ## Remove build output and caches, but not .venv and .tools
	rm -rf dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
