# Aftercast: each target does all set-up it needs on a bare Debian 12 with a Rust toolchain.
#
#   make demo    the whole product on this machine: one seed, six nodes, one broadcast, played back
#   make test    every test
#   make table   every recipe over every combination of codecs, and what became of each chunk
#   make help    all targets

SHELL := /bin/bash
.DEFAULT_GOAL := help

# Outside the checkout, so that a fresh clone does not compile RocksDB again. Your own setting wins.
export CARGO_TARGET_DIR ?= $(HOME)/.cache/aftercast/target
# Cargo unites features over what is selected: always the whole workspace, or RocksDB is compiled once per selection.
ALL := --workspace --locked
# The golden chunks alone: this crate builds in a folder of its own for each profile.
GOLDEN := -p aftercast-protocol --test ccf_golden
BIN := $(CARGO_TARGET_DIR)/debug

DEMO_FLAGS := $(if $(INPUT),--input "$(INPUT)") $(if $(KEEP),--keep)

# How long each target is fuzzed; bash has a variable of this name too, so only make's is used.
SECONDS := 60

.PHONY: help setup build demo test lint bench players playback calibrate table fuzz golden clean

help:
	@echo "make demo           record one broadcast in five homes, play it in a sixth; prints what happened"
	@echo "make demo INPUT=F   the same with a transport stream of your own (AVC video, AAC or MPEG audio)"
	@echo "make demo KEEP=1    leaves it running afterwards, so that you can watch in VLC"
	@echo "make test           every test (installs what it needs)"
	@echo "make golden         the golden chunks once more, unoptimised and as a release"
	@echo "make lint           format, clippy, docs, architecture"
	@echo "make bench          measurements, each beside its alternative"
	@echo "make players        plays a recording in VLC and in hls.js (installs VLC and hls.js)"
	@echo "make playback       watches a recording over slow lines in real time: 15 minutes, and what a viewer saw"
	@echo "make calibrate      lets forty real nodes enact a scenario and holds the simulator beside them: eight minutes"
	@echo "make fuzz           fuzzes each target for SECONDS=60 (FUZZ=\"avc pes\": only these; MERGE=1: makes the corpus anew)"
	@echo "make table          impairment by codec: identical / withheld / different chunks, as Markdown"
	@echo "make setup          only install what is needed"

setup:
	@.ci/setup

build: setup
	cargo build $(ALL) --bins

demo: build
	@$(BIN)/aftercast-demo $(DEMO_FLAGS)

test: build
	cargo nextest run $(ALL)
	cargo nextest run --locked $(GOLDEN) --cargo-profile unoptimised

# Optimisation must not change a byte of a chunk. A minute of one core for the first, two for the second; make test has the
# first: it is the farther from the profile that everything else is built with.
golden: setup
	cargo nextest run --locked $(GOLDEN) --cargo-profile unoptimised
	cargo nextest run --locked $(GOLDEN) --cargo-profile release

lint: setup
	cargo fmt --all --check
	cargo fmt --manifest-path protocol/fuzz/Cargo.toml --check
	cargo clippy $(ALL) --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" cargo doc $(ALL) --no-deps --document-private-items
	.ci/architecture

players: build
	@.ci/setup players
	@$(BIN)/aftercast-players --cache $(CARGO_TARGET_DIR)/players \
		--hls-js "$$(.ci/players $(CARGO_TARGET_DIR)/players)"

bench: build
	cargo bench $(ALL) --profile dev --bench canonicalise --bench record --bench layout --bench readers --bench engine --bench fleet
	@.ci/setup bench
	@python=$$(protocol/net/benches/libtorrent/setup $(CARGO_TARGET_DIR)/libtorrent) && \
		cargo bench $(ALL) --profile dev --bench carrier -- --quick $${python:+--libtorrent $$python}
	@python=$$(sim/benches/simpy/setup $(CARGO_TARGET_DIR)/simpy) && \
		cargo bench $(ALL) --profile dev --bench simpy -- $${python:+--python $$python}

# Eight minutes; wants a machine that has nothing else to do.
calibrate: build
	@$(BIN)/aftercast-calibrate --cache $(CARGO_TARGET_DIR)/playback $(CALIBRATE_FLAGS)

playback: build
	@$(BIN)/aftercast-playback --cache $(CARGO_TARGET_DIR)/playback $(PLAYBACK_FLAGS)

fuzz: setup
	@MERGE=$(MERGE) protocol/fuzz/run $(SECONDS) $(FUZZ)

table: setup
	cargo build $(ALL) --bin aftercast-table
	@$(BIN)/aftercast-table

clean:
	cargo clean
