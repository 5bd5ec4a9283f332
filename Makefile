# Two commands for a fresh machine, `make demo` and `make test`; both fetch libtorch once and say at once what is missing.
PYTHON ?= python3
CARGO ?= cargo

# What `make demo` edits, and how.
DEMO_IMAGE ?= assets/cat.png
DEMO_INSTRUCTION ?= make the red heart blue
DEMO_OPTIONS ?= --compare instruct-pix2pix --seed 5 --size fit:128

# What `make eval` measures, and how: EVAL_OPTIONS takes any option of `retouch eval`, such as --steps 50 or --limit 20.
EVAL_SETS ?= assets/heldout assets/heldout-hard
EVAL_OUT ?= out/eval
EVAL_SEED ?= 1
EVAL_OPTIONS ?=

target := $(or $(CARGO_TARGET_DIR),target)
# torch-sys would let these win over LIBTORCH.
unexport LIBTORCH_USE_PYTORCH LIBTORCH_INCLUDE LIBTORCH_LIB
# Cargo against the libtorch folder that .ci/libtorch.py prints.
cargo = LIBTORCH=$$($(PYTHON) .ci/libtorch.py) && export LIBTORCH && $(CARGO)

.PHONY: build client python-client wheel demo demo-picture studio eval quick test test-cluster test-kubernetes test-http test-studio bench bench-http bench-service bench-studio cuda-library chart check libtorch needs
.DEFAULT_GOAL := build

# target/release/retouch
build: needs
	@$(cargo) build --release --locked

# target/client/release/retouch: a client of a server alone, without libtorch; needs Rust and a C compiler.
client:
	@$(CARGO) build --release --locked --no-default-features --features client --target-dir $(target)/client

# target/python/retouch_client-*.whl: the client library for Python; needs Python 3.10 with pip.
WHEEL_OPTIONS ?=
python-client:
	@$(PYTHON) -m pip wheel --quiet --no-deps --wheel-dir $(target)/python $(WHEEL_OPTIONS) ./python

# target/wheel/retouch-*.whl: the command, its demo model and its studio for pip; needs Python 3.10 with pip.
WHEEL_OF ?= $(abspath $(target))/release/retouch
wheel: $(if $(filter file,$(origin WHEEL_OF)),build)
	@RETOUCH_BINARY=$(WHEEL_OF) $(PYTHON) -m pip wheel --quiet --no-deps --wheel-dir $(target)/wheel ./wheel

# Edits an example with the demo model, from the clone alone.
demo: build
	@mkdir -p out
	@$(target)/release/retouch edit $(DEMO_IMAGE) "$(DEMO_INSTRUCTION)" -o out/demo.png --maps out/demo --force $(DEMO_OPTIONS)

# docs/demo.webp, the README's picture: the demo's contact sheet at two thirds of its size; needs Pillow.
demo-picture: demo
	@$(PYTHON) -c "from PIL import Image; it = Image.open('out/demo/contact-sheet.png'); \
	it.resize((1200, it.height * 2 // 3), Image.LANCZOS).save('docs/demo.webp', quality=80, method=6)"

# Builds the studio's page into assets/studio; needs Node.js.
studio:
	@$(PYTHON) .ci/studio.py --write

# Tests the page in Chromium at every size, light and dark; needs Node.js and chromium.
test-studio: build
	@$(PYTHON) .ci/studio.py --all

# Runs every method over both sets of held-out scenes with the demo model, and writes tables, plots and a gallery of each.
eval: build
	@for set in $(EVAL_SETS); do \
		$(target)/release/retouch eval $$set/manifest.jsonl --out $(EVAL_OUT)/$${set##*/} --seed $(EVAL_SEED) --force \
			$(EVAL_OPTIONS) || exit; \
	done

# Modules of tests/it that start processes or servers, or wait for a clock; tests/it/quick.rs checks that no other does.
SLOW := batcher cli client cluster earlier http_api knobs ledger libtorch loading_memory needs neighbours server_edges service

# Runs the quick tests: all that start no process and wait for no clock.
quick: needs
	@$(cargo) test --locked --lib --test architecture
	@$(cargo) test --locked --test it -- $(SLOW:%=--skip %::)

# Builds and passes every test, doc tests too.
test: needs
	@$(cargo) test --locked

# Tests several processes over NATS that take longer than those of `make test`; needs Go.
test-cluster: needs
	@$(cargo) test --locked --test it -- --include-ignored --nocapture cluster::

# The program that `make test-kubernetes` asks for its jobs.
RETOUCH_BINARY ?= $(abspath $(target))/release/retouch
# Installs the chart in a Kubernetes control plane on loopback, and scales it; needs Go, Python 3.11 and openssl.
test-kubernetes: $(if $(filter file,$(origin RETOUCH_BINARY)),build)
	@RETOUCH_BINARY=$(RETOUCH_BINARY) $(PYTHON) helm/cluster/run.py

# Times retouch against other engines at full size, with random weights: about 40 minutes, 15 GB of disk, 20 GB of memory.
BENCH_OPTIONS ?=
bench: build $(target)/bench/venv/ready
	@LIBTORCH=$$($(PYTHON) .ci/libtorch.py) && export LIBTORCH && $(target)/bench/venv/bin/python benches/compare.py $(BENCH_OPTIONS)

# Loads the service on loopback: a few minutes.
bench-service: needs
	@$(cargo) bench --locked --bench service_load

# Loads the images API beside gRPC on loopback: about two minutes.
bench-http: needs
	@$(cargo) bench --locked --bench http_load

# Runs HTTP_CASES requests that schemathesis makes of the API's description against a server with a scripted model.
HTTP_CASES ?= 10000
test-http: needs $(target)/tools/schemathesis/ready
	@export HTTP_CASES=$(HTTP_CASES) SCHEMATHESIS=$(abspath $(target))/tools/schemathesis/bin/schemathesis && \
	  $(cargo) test --locked --test it -- --ignored --nocapture http_api::described

$(target)/tools/schemathesis/ready: tests/http/requirements.txt
	@$(PYTHON) -m venv $(target)/tools/schemathesis
	@$(target)/tools/schemathesis/bin/python -m pip install --quiet -r $<
	@touch $@

$(target)/bench/venv/ready: benches/requirements.txt
	@$(PYTHON) -m venv $(target)/bench/venv
	@$(target)/bench/venv/bin/python -m pip install --quiet -r $<
	@touch $@

# Measures first paint and interactions of the studio from Chromium's trace; needs Node.js and chromium.
bench-studio: build studio
	@cd studio && npm test --silent -- --project bench

# Compiles what a GPU adds (CUDA graphs, fused layers), beside the binary; needs a C++ compiler, no CUDA.
cuda-library: needs
	@$(PYTHON) .ci/cuda_library.py $(target)/release

# Tests the Helm chart and lints the Dockerfile; needs Go and Python 3.11. CHART_OPTIONS=--update writes the snapshots anew.
CHART_OPTIONS ?=
chart:
	@$(PYTHON) helm/tests/run.py $(CHART_OPTIONS)

# The one gate: format, lints, tests, docs, chart, licences.
check:
	@.ci/run

# Unpacks libtorch into .libtorch/, or makes a view of the one that LIBTORCH names.
libtorch: needs
	@$(PYTHON) .ci/libtorch.py

needs:
	@CARGO="$(CARGO)" PYTHON="$(PYTHON)" .ci/needs
