# Two commands do everything: `make demo` and `make test`. Both create .venv first; a second run finds it in place.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
SAMPLE ?= sample_videos/bigbuckbunny.mp4
QUALITY ?= 5
FUZZ_SECONDS ?= 600
CLIPS ?=
CLIPS_TITLE ?= Other clips
TORCH ?= 2.6.0
TORCH_VENV := .venv-torch-$(TORCH)
PEERS_VENV := .venv-peers
EXACT_TESTS := tests/entropy tests/networks tests/model tests/codec $(addprefix tests/,files/test_coding.py \
	container/test_golden.py system/test_threads.py batch/test_split.py)
# Tests about names, files and streams; with ENVIRONMENT_TESTS=tests all of them, for half an hour.
ENVIRONMENT_TESTS ?= $(addprefix tests/,cli/test_batch_commands.py files/test_inspection_and_editing.py \
	media/test_outputs.py system/test_atomic.py tokens/test_token_files.py)

.PHONY: demo test lint types unit environments wheel test-processors test-torch bench report model-card fuzz clean

demo: $(VENV)/.installed
	@mkdir -p demo
	$(BIN)/vtok encode --force --quality $(QUALITY) $(SAMPLE) demo/video.vtok
	$(BIN)/vtok decode --force demo/video.vtok demo/video.mp4
	@$(BIN)/vtok stats $(SAMPLE) demo/video.vtok
	@echo "compressed: $(CURDIR)/demo/video.vtok"
	@echo "decoded:    $(CURDIR)/demo/video.mp4"

test: lint types unit environments wheel

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache --no-logo

types: $(VENV)/.installed-dev
	$(BIN)/mypy

unit: $(VENV)/.installed-dev
	$(BIN)/python -m pytest

# As another user than root, in a strict UTF-8 locale, and with closed standard streams.
environments: $(VENV)/.installed-dev
	for kind in user strict closed; do \
		echo "$$kind"; $(BIN)/python tests/tools/environments.py $$kind $(ENVIRONMENT_TESTS) || exit 1; \
	done

# What users install: a wheel, in an environment with nothing but its requirements.
wheel: $(VENV)/.installed-dev
	rm -rf build
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir build/wheel .
	$(BIN)/python -m venv build/venv
	build/venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt build/wheel/*.whl
	cd build/wheel && ../venv/bin/vtok --version
	cd build/wheel && ../venv/bin/vtok encode --quiet --end 1 $(CURDIR)/$(SAMPLE) sample.vtok
	cd build/wheel && ../venv/bin/vtok decode --quiet sample.vtok sample.mp4
	cd build/wheel && ../venv/bin/vtok info sample.vtok

# The tests of what has to be exact as lesser processors would run them, with one thread and with two.
test-processors: $(VENV)/.installed-dev
	for processor in "ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2" \
			"ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41"; do \
		for threads in 1 2; do \
			echo "$$processor OMP_NUM_THREADS=$$threads"; \
			env $$processor OMP_NUM_THREADS=$$threads $(BIN)/python -m pytest $(EXACT_TESTS) || exit 1; \
		done; \
	done

# With another version of PyTorch: the tests of what has to be exact, and whether files have the same bytes.
test-torch: $(VENV)/.installed-dev $(TORCH_VENV)/.installed-dev
	$(TORCH_VENV)/bin/python -m pytest $(EXACT_TESTS)
	$(BIN)/python tests/tools/prior_bytes.py $(BIN)/python $(TORCH_VENV)/bin/python

# Speed, memory and start-up beside other codecs; takes a quarter of an hour on an idle machine.
bench: $(VENV)/.installed-dev $(PEERS_VENV)/.installed
	$(BIN)/python benchmarks/performance.py $(SAMPLE) --peer-python $(PEERS_VENV)/bin/python --json demo/performance.json

# docs/quality.md and the pictures of the README, with CLIPS=FOLDER of more clips. It goes on where it was stopped.
report: $(VENV)/.installed-dev
	$(BIN)/vtok bench sample_videos -o demo/report/sample_videos
	$(if $(CLIPS),$(BIN)/vtok bench $(CLIPS) -o demo/report/clips)
	$(BIN)/python tools/docs/generate_quality.py "Sample videos=demo/report/sample_videos" \
		$(if $(CLIPS),"$(CLIPS_TITLE)=demo/report/clips")

# docs/model_card.md and its pictures, for the weights in the package; takes some minutes.
model-card: $(VENV)/.installed-dev
	$(BIN)/python tools/docs/generate_model_card.py

# What it finds is written to demo/fuzz as crash-* or timeout-*.
fuzz: $(VENV)/.installed-fuzz
	@mkdir -p demo/fuzz/corpus
	cd demo/fuzz && $(CURDIR)/$(BIN)/python $(CURDIR)/tests/tools/fuzz_container.py -max_total_time=$(FUZZ_SECONDS) corpus

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV) || python3 -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev,bench]"
	@touch $@

$(VENV)/.installed-fuzz: pyproject.toml constraints.txt | $(VENV)/.installed-dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[fuzz]"
	@touch $@

# All pins but that of PyTorch and that of sympy, of which each PyTorch wants its own.
$(TORCH_VENV)/.installed-dev: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(TORCH_VENV) || python3 -m venv $(TORCH_VENV)
	grep -vE '^(torch|sympy)==' constraints.txt > $(TORCH_VENV)/constraints.txt
	$(TORCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check \
		--constraint $(TORCH_VENV)/constraints.txt "torch==$(TORCH)" --editable ".[dev]"
	@touch $@

# Another tokenizer, whose requirements are many and not vtok's.
$(PEERS_VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(PEERS_VENV) || python3 -m venv $(PEERS_VENV)
	$(PEERS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check \
		"$$(grep '^torch==' constraints.txt)" magvit2-pytorch==0.5.1
	@touch $@

clean:
	rm -rf $(VENV) $(PEERS_VENV) .venv-torch-* build demo
