# Every way in. Each target does its own set-up on a machine that has Rust (rustup), Python >= 3.11 and make, and repeats only what changed.
#
#   make demo       what it does, on real images
#   make build      the package, built into .venv, and the command, target/release/tensorferry
#   make test       all tests, with TensorFlow and JAX; FRAMEWORKS=all adds PyTorch, a download of several GB, and Grain; none: what needs no framework;
#                   RAY=1 adds those of Ray, in a run of their own
#   make servers    SeaweedFS, Azurite and nginx, for the tests of object storage; make test calls it
#   make test-tensorflow TENSORFLOW=2.16   the tests with another TensorFlow, in an environment of its own
#   make lint       formatting, lints, types, workflows, documents in step with the code, `make msrv`
#   make msrv       whether the crates compile with the oldest Rust that their Cargo.toml names
#   make bench      side by side with the peers; a table, a record in benchmarks/record/ and the chart of the README; ONLY=W2,W4 for a part
#   make bench-rust the kernels, the shuffle and the gather, with criterion
#   make deny       licences, sources and advisories of all crates that are used
#   make semver     whether the Rust API keeps what the last tag promised
#   make publish-check   whether every crate could be published
#   make fuzz       every fuzz target for FUZZ_SECONDS seconds
#   make sanitize   the Rust tests of core and library under the address, leak and thread sanitizers
#   make examples   every example
#   make docs       the site in site/, with the Rust documentation; the conversion table; the examples of Rust as tests
#   make site       the site alone
#   make site-check   the site, and every page of it in Chromium; screenshots in site-screenshots/
#   make wheel      an abi3 wheel in dist/, for Linux with glibc 2.28 or later, checked
#   make wheel-aarch64   the same for 64-bit ARM, cross-compiled
#   make sdist      the source distribution in dist/; the wheel is built from it in a clean environment
#   make wheel-check     tries the wheels of dist/ with NumPy alone, that of another processor under qemu-user
#   make check-targets   whether the crates compile for macOS, Windows and other Linux
#   make clean      removes all of the above, and .venv

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help demo build servers test test-tensorflow lint msrv deny semver publish-check publish bench bench-rust fuzz sanitize \
	examples docs site site-check chromium wheel wheel-aarch64 sdist wheel-check check-targets clean

VENV ?= .venv
FRAMEWORKS ?= default
# 1: the tests of Ray too, which start a cluster of three nodes. They run after the others, and in one process, which shares it.
RAY ?=
# Where they are.
RAY_TESTS := tests/ray tests/cluster tests/docs/test_examples.py
# Processes that run the Python tests. Each imports the frameworks, which takes about 2 GB.
WORKERS ?= 2
FUZZ_SECONDS ?= 30
# What cargo-deny checks. Advisories need its database, which is on GitHub: without it, DENY="bans licenses sources".
DENY ?= all
export WITHOUT_BROWSER ?=
# The newest that every framework has wheels for comes first; one that lacks venv (or is only a version manager's empty shim) is passed over.
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3; do \
	$$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$python && break; done)

VENV_PYTHON := $(abspath $(VENV))/bin/python
# What is optional in the Rust crates and builds on a stable compiler.
FEATURES := --features tensorferry/ndarray

# One interpreter for every cargo call: with another, PyO3 and all that stands on it would be built anew.
export PYO3_PYTHON := $(VENV_PYTHON)
export VIRTUAL_ENV := $(abspath $(VENV))
export PIP_DISABLE_PIP_VERSION_CHECK := 1

help:
	@sed -n 's/^#   //p' $(firstword $(MAKEFILE_LIST))

# ---- set-up: .venv, and one stamp for each dependency group of pyproject.toml (which pip reads from 25.1 on)

$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "No Python >= 3.11 with venv was found (on Debian and Ubuntu: apt install python3-venv)." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(VENV_PYTHON) -m pip install --quiet --upgrade 'pip>=25.1'
	touch $@

$(VENV)/.have-%: pyproject.toml | $(VENV)/.made
	$(VENV_PYTHON) -m pip install --quiet --group $*
	touch $@

$(VENV)/.have-benchmarks: benchmarks/requirements.txt | $(VENV)/.made
	$(VENV_PYTHON) -m pip install --quiet --requirement $<
	touch $@

have = $(addprefix $(VENV)/.have-,$(1))
TEST_GROUPS := $(if $(filter none,$(FRAMEWORKS)),,frameworks) test $(if $(filter all,$(FRAMEWORKS)),torch grain) $(if $(filter 1,$(RAY)),ray)

# ---- the ways in

build: $(call have,build)
	$(VENV_PYTHON) -m maturin develop --release --quiet
	cargo build --release --quiet -p tensorferry-cli

demo: build $(call have,frameworks demo)
	$(VENV_PYTHON) examples/demo.py

servers: $(call have,servers)
	tools/servers.sh

test: build servers $(call have,$(TEST_GROUPS))
	cargo test --workspace $(FEATURES)
	TENSORFERRY_FRAMEWORKS=$(FRAMEWORKS) $(VENV_PYTHON) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m 'not ray'
	$(if $(filter 1,$(RAY)),TENSORFERRY_FRAMEWORKS=$(FRAMEWORKS) TENSORFERRY_RAY=1 $(VENV_PYTHON) -m pytest -m ray $(RAY_TESTS))

# PYTHON has to be one that this TensorFlow has wheels for: PYTHON=python3.11 for all from 2.16 on.
TENSORFLOW_PYTHON = .venv-tensorflow-$(TENSORFLOW)/bin/python
# Without JAX, whose releases need NumPy 2. The demo and the README ask a tensor where it lies, which TensorFlow before 2.20 does not tell.
TENSORFLOW_TESTS := -k 'not jax' --deselect 'tests/docs/test_examples.py::test_an_example_shows_what_it_claims[demo]' \
	--deselect 'tests/docs/test_documents.py::test_python_sessions_print_what_a_document_shows[README.md]'

test-tensorflow: build
	@test -n "$(TENSORFLOW)" || { echo "Which one? make test-tensorflow TENSORFLOW=2.16" >&2; exit 1; }
	test -x $(TENSORFLOW_PYTHON) || $(PYTHON) -m venv .venv-tensorflow-$(TENSORFLOW)
	$(TENSORFLOW_PYTHON) -m pip install --quiet --upgrade 'pip>=25.1'
	$(TENSORFLOW_PYTHON) -m pip install --quiet --group test 'tensorflow-cpu==$(TENSORFLOW).*'
	PYTHONPATH=$(CURDIR)/python $(TENSORFLOW_PYTHON) -m pytest $(TENSORFLOW_TESTS)

lint: build msrv $(call have,lint workflows frameworks test)
	cargo fmt --all --check
	cargo clippy --workspace --all-targets $(FEATURES) -- -D warnings
	cargo clippy -p tensorferry-core --no-default-features -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace $(FEATURES) --no-deps --quiet
	$(VENV_PYTHON) -m ruff check .
	$(VENV_PYTHON) -m ruff format --check .
	$(VENV_PYTHON) tools/python_imports.py
	$(VENV_PYTHON) -m mypy
	$(VENV_PYTHON) -m mypy.stubtest tensorferry._internal --mypy-config-file pyproject.toml
	$(VENV_PYTHON) tools/rust_modules.py
	$(VENV_PYTHON) tools/prose.py
	$(VENV_PYTHON) tools/wheel.py --extension python/tensorferry/_internal.abi3.so
	$(VENV_PYTHON) tools/conversion_table.py --check
	$(VENV_PYTHON) tools/scale_model.py --check
	$(VENV_PYTHON) tools/versions.py
	$(VENV)/bin/shellcheck .ci/run $(wildcard tools/*.sh)
	$(VENV)/bin/jactionlint --shellcheck=$(VENV)/bin/shellcheck --strict-exit
	$(VENV)/bin/zizmor --offline --quiet .github

# In a target folder of its own: two compilers that share one rebuild everything in turn.
msrv: export CARGO_TARGET_DIR := $(CURDIR)/target/msrv
msrv: $(VENV)/.made
	check() { \
		toolchain=$$(sed -n 's/^rust-version = "\(.*\)"/\1.0/p' "$$1"); \
		rustup toolchain list | grep -q "^$$toolchain-" || rustup toolchain install "$$toolchain" --profile minimal; \
		cargo "+$$toolchain" check --quiet "$${@:2}"; }; \
	check Cargo.toml --workspace $(FEATURES); \
	check crates/tensorferry-core/Cargo.toml -p tensorferry-core --no-default-features

deny:
	cargo deny --version >/dev/null 2>&1 || cargo install cargo-deny --locked --quiet
	cargo deny --workspace --all-features check $(DENY)

# Against the last tag that this commit stands on. Before the first tag there is nothing to keep.
semver:
	tag=$$(git describe --tags --abbrev=0 --match 'v*' 2>/dev/null) || { echo "There is no tag yet."; exit 0; }; \
	cargo semver-checks --version >/dev/null 2>&1 || cargo install cargo-semver-checks --locked --quiet; \
	cargo semver-checks --workspace --exclude tensorferry-python --baseline-rev "$$tag"

# For other systems, as far as that can be done on this one: lints of all but the foreign-interface crates. Zig compiles the C code.
TARGETS ?= aarch64-unknown-linux-gnu aarch64-unknown-linux-musl aarch64-apple-darwin x86_64-pc-windows-gnu
PORTABLE := $(addprefix -p tensorferry,-core -io -dataset) -p tensorferry -p tensorferry-cli
check-targets: export CARGO_TARGET_DIR := $(CURDIR)/target/targets
check-targets: $(call have,wheel)
	for target in $(TARGETS); do \
		echo "== $$target"; rustup target list --installed | grep -qx "$$target" || rustup target add "$$target"; \
		$(WITH_TOOLS) cargo-zigbuild clippy --quiet $(PORTABLE) --target "$$target" -- -D warnings; done

# Every crate that is published, packed and built from its package: versions, READMEs and licences included.
publish-check:
	# Cargo keeps what an earlier check unpacked, by version alone.
	rm -rf "$${CARGO_HOME:-$$HOME/.cargo}"/registry/src/-*/tensorferry*-[0-9]* \
		"$${CARGO_HOME:-$$HOME/.cargo}"/registry/cache/-*/tensorferry*-[0-9]*
	cargo publish --workspace --exclude tensorferry-python --dry-run --allow-dirty

# The release workflow alone publishes (RELEASING.md).
publish:
	cargo publish --workspace --exclude tensorferry-python --locked

# fio says what a device gives at most. W5 and W6 say so where it is missing.
bench: build $(call have,frameworks test benchmarks)
	command -v fio >/dev/null || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get install -y -qq fio; } || \
		echo "fio is not installed (on Debian and Ubuntu: apt install fio): nothing in W5 and W6 is beside it." >&2
	$(VENV_PYTHON) benchmarks/run.py $(if $(ONLY),--only $(ONLY) --record,--update-readme)

bench-rust:
	cargo bench -p tensorferry-core --bench convert -p tensorferry-dataset --bench batches

# Sanitised code needs the nightly compiler.
fuzz:
	rustup toolchain list | grep -q '^nightly' || rustup toolchain install nightly --profile minimal
	cargo fuzz --version >/dev/null 2>&1 || cargo install cargo-fuzz --locked --quiet
	targets=$$(cargo +nightly fuzz list); test -n "$$targets"; for target in $$targets; do \
		echo "== $$target"; cargo +nightly fuzz run "$$target" -- -max_total_time=$(FUZZ_SECONDS) -timeout=60 -print_final_stats=1; done

# The thread sanitizer has to see the standard library's locks, so that is built with it too. Frames are larger than those the stacks are for.
sanitize: export RUST_MIN_STACK := 67108864
sanitize:
	rustup toolchain list | grep -q '^nightly' || rustup toolchain install nightly --profile minimal
	rustup component add rust-src --toolchain nightly
	host=$$(rustc +nightly -vV | sed -n 's/^host: //p'); tests="-p tensorferry-core -p tensorferry-io -p tensorferry-dataset --lib --target $$host"; \
	RUSTFLAGS=-Zsanitizer=address CARGO_TARGET_DIR=target/address cargo +nightly test $$tests; \
	RUSTFLAGS=-Zsanitizer=thread CARGO_TARGET_DIR=target/thread cargo +nightly test -Zbuild-std $$tests

examples: build $(call have,frameworks demo $(if $(filter 1,$(RAY)),ray))
	for example in $(if $(filter 1,$(RAY)),examples/*.py,$$(ls examples/*.py | grep -v /ray_)); do echo "== $$example"; $(VENV_PYTHON) "$$example"; done
	for example in crates/*/examples/*.rs; do \
		test -e "$$example" || continue; crate=$${example#crates/}; name=$$(basename "$$example" .rs); \
		echo "== $$example"; cargo run --quiet --release -p "$${crate%%/*}" $(FEATURES) --example "$$name"; done

docs: build $(call have,frameworks test)
	$(VENV_PYTHON) tools/conversion_table.py
	$(MAKE) --no-print-directory site
	cargo test --workspace $(FEATURES) --doc

# Every picture and page is made here, from the code as it is: nothing that the site shows is committed or fetched.
SITE_TOOLS := $(VENV_PYTHON) tools/docs_site
site: build chromium $(call have,docs demo)
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace $(FEATURES) --no-deps --quiet
	rm -rf .out/pages .out/pictures site
	$(SITE_TOOLS)/pictures.py .out/pictures
	$(SITE_TOOLS)/pages.py .out/pages .out/pictures
	PATH="$(abspath $(VENV))/bin:$$PATH" zensical build --clean --strict
	cp -r "$${CARGO_TARGET_DIR:-target}/doc" site/rust
	cp tools/docs_site/rust.html site/rust/index.html
	$(SITE_TOOLS)/check.py site

site-check: site
	test "$(WITHOUT_BROWSER)" = 1 || $(SITE_TOOLS)/browser.py site site-screenshots

# It draws the report of `inspect`, and looks at the site. WITHOUT_BROWSER=1 does without both.
chromium:
	test "$(WITHOUT_BROWSER)" = 1 || command -v chromium chromium-browser google-chrome $${CHROMIUM:-} >/dev/null || \
		{ test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get update -qq && apt-get install -y -qq chromium; } || \
		{ echo "Chromium is not installed (on Debian and Ubuntu: apt install chromium). WITHOUT_BROWSER=1 does without." >&2; exit 1; }

# Zig links with the symbols of that glibc, whatever this machine has.
WHEEL_TARGET ?= $(shell rustc -vV | sed -n 's/^host: //p')
WHEEL_OPTIONS := $(if $(findstring -linux-gnu,$(WHEEL_TARGET)),--zig --compatibility manylinux_2_28 --auditwheel check)
WHEELS = dist/tensorferry-*-cp311-abi3-*$(firstword $(subst -, ,$(WHEEL_TARGET))).whl
# cargo-zigbuild is started by name.
WITH_TOOLS = PATH="$(abspath $(VENV))/bin:$$PATH"

wheel: $(call have,build wheel)
	rustup target list --installed | grep -qx $(WHEEL_TARGET) || rustup target add $(WHEEL_TARGET)
	rm -f $(WHEELS)
	$(WITH_TOOLS) $(VENV_PYTHON) -m maturin build --release --quiet --target $(WHEEL_TARGET) $(WHEEL_OPTIONS) --out dist
	$(VENV_PYTHON) tools/wheel.py $(WHEELS)
	$(VENV_PYTHON) -m twine check --strict $(WHEELS)

wheel-aarch64:
	$(MAKE) wheel WHEEL_TARGET=aarch64-unknown-linux-gnu

# pip builds it as a user would: with its own copy of maturin, and nothing of this folder.
sdist: $(call have,build wheel)
	rm -rf dist/*.tar.gz $(VENV)-sdist
	$(VENV_PYTHON) -m maturin sdist --out dist
	$(VENV_PYTHON) -m twine check --strict dist/*.tar.gz
	$(VENV)/bin/cffconvert --validate
	$(PYTHON) -m venv $(VENV)-sdist
	$(VENV)-sdist/bin/python -m pip install --quiet dist/*.tar.gz
	cd $(VENV)-sdist && bin/python $(CURDIR)/tools/smoke.py

wheel-check: $(VENV)/.made
	PYTHON=$(PYTHON) tools/wheel_check.sh dist/*.whl

clean:
	cargo clean
	rm -rf dist site site-screenshots .servers .out/pages .out/pictures fuzz/target .pytest_cache .mypy_cache .ruff_cache .hypothesis $(VENV) $(VENV)-sdist .venv-tensorflow-* python/tensorferry/*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
