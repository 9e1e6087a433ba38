# Everything that a person or a machine does with this project; `make` alone lists it.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# Where rustup puts cargo, for shells that were not told.
export PATH := $(PATH):$(HOME)/.cargo/bin

CARGO ?= cargo
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
SETUP_STAMP := $(TARGET_DIR)/tests-setup.stamp

.PHONY: help demo test check bench bench-scaling soak soak-queues setup cargo

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: | cargo ## Build Leveret and show it at work on its own small broker (needs Rust and a C compiler; Ctrl-C ends it)
	$(CARGO) build --release --locked
	exec $(TARGET_DIR)/release/leveret demo

test: setup check ## Install what the tests need, run the checks, then all tests
	$(CARGO) test --locked --doc
	@# The simulated worlds among them take a quarter of the time when optimised, which is more than compiling takes longer.
	CARGO_PROFILE_TEST_OPT_LEVEL=1 $(CARGO) test --locked --lib
	$(CARGO) test --locked --bins --test '*' --no-fail-fast

check: | cargo ## Formatting, lints, documentation, licences and sources of the dependencies
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --document-private-items
	@if $(CARGO) deny --version >/dev/null 2>&1; then \
		echo "$(CARGO) deny check bans licenses sources"; \
		$(CARGO) deny --locked check bans licenses sources; \
	else \
		echo "check: cargo-deny is not installed, so deny.toml was not checked (cargo install cargo-deny --locked)"; \
	fi

# The bench itself is not optimised, so that it need not be built twice: what it measures is the release build.
bench: BENCH_VENV = $(abspath $(TARGET_DIR))/bench-venv
bench: | cargo ## Measure 1,000 processes, beside a bare spawn loop, supervisord and circus where they can be had; and 1,000 queues (six minutes; ONLY=queues)
	$(CARGO) build --release --locked
	@$(BENCH_VENV)/bin/python3 -c 'import circus' 2>/dev/null || { \
		python3 -m venv $(BENCH_VENV) && $(BENCH_VENV)/bin/pip install --quiet --disable-pip-version-check circus==0.19.0; \
	} || echo "bench: circus cannot be installed here (it takes python3-venv and a package index) and is left out"
	LEVERET_BENCH_BINARY=$(abspath $(TARGET_DIR))/release/leveret \
		LEVERET_BENCH_CIRCUS=$(BENCH_VENV)/bin/circusd \
		LEVERET_BENCH_ONLY=$(ONLY) \
		$(CARGO) bench --locked --profile dev --bench processes

bench-scaling: | cargo ## Compare all scaling policies in the simulator; writes the tables and pictures of docs/scaling.md anew
	$(CARGO) build --release --locked
	@mkdir -p docs/plots
	LEVERET_BENCH_BINARY=$(abspath $(TARGET_DIR))/release/leveret $(CARGO) bench --locked --profile dev --bench scaling

# Seeds that nobody has seen yet, unless FIRST names them; optimised, because it lives long.
soak: SEEDS ?= 10000
soak: ACTIONS ?= 2000
soak: FIRST ?= $(shell date +%s)
soak: | cargo ## Simulate faults for hours: 10,000 new seeds, or SEEDS=, ACTIONS= and FIRST=; the first failure ends it
	LEVERET_SIMULATION_SEEDS=$(SEEDS) LEVERET_SIMULATION_ACTIONS=$(ACTIONS) LEVERET_SIMULATION_FIRST=$(FIRST) \
		$(CARGO) test --locked --profile soak --lib -- --ignored --nocapture --exact simulation::machine::tests::soak

soak-queues: setup | cargo ## Read 200 queues of a real RabbitMQ for an hour, or LEVERET_SOAK_MINUTES=, and fail where anything leaks
	$(CARGO) test --locked --test it -- --ignored --nocapture --exact \
		soak_queues::an_hour_with_two_hundred_queues_leaks_no_channel_no_descriptor_and_no_memory

setup: $(SETUP_STAMP) ## Install the Debian packages that the tests need (as root or with sudo; nothing is left listening)

# The stamp makes a second run instant; it is older than tests/setup when the list of packages changes.
$(SETUP_STAMP): tests/setup
	tests/setup
	@mkdir -p $(TARGET_DIR)
	@touch $@

cargo:
	@command -v $(CARGO) >/dev/null || { \
		echo "Rust is missing: install it from https://rustup.rs (or your system's rustup package), then run make again." >&2; \
		exit 1; \
	}
