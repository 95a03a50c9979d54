# Two commands do everything: `make demo` and `make test`. Both create .venv first; a second run finds it in place.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
SAMPLE ?= sample_videos/bigbuckbunny.mp4
QUALITY ?= 5
FUZZ_SECONDS ?= 600
TORCH ?= 2.6.0
TORCH_VENV := .venv-torch-$(TORCH)
TORCH_TESTS := $(addprefix tests/test_,exact_prior.py entropy.py latent_model.py pretrained.py codec.py random_access.py)

.PHONY: demo test lint types unit test-torch bench speed fuzz clean

demo: $(VENV)/.installed
	@mkdir -p demo
	$(BIN)/vtok encode --force --quality $(QUALITY) $(SAMPLE) demo/video.vtok
	$(BIN)/vtok decode --force demo/video.vtok demo/video.mp4
	@$(BIN)/vtok stats $(SAMPLE) demo/video.vtok
	@echo "compressed: $(CURDIR)/demo/video.vtok"
	@echo "decoded:    $(CURDIR)/demo/video.mp4"

test: lint types unit

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

unit: $(VENV)/.installed-dev
	$(BIN)/python -m pytest

# With another version of PyTorch: the tests of what has to be exact, and whether files have the same bytes.
test-torch: $(VENV)/.installed-dev $(TORCH_VENV)/.installed-dev
	$(TORCH_VENV)/bin/python -m pytest $(TORCH_TESTS)
	$(BIN)/python tests/prior_bytes.py $(BIN)/python $(TORCH_VENV)/bin/python

bench: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/rate_distortion.py sample_videos --json demo/rate_distortion.json

speed: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/speed.py $(SAMPLE)

# What it finds is written to demo/fuzz as crash-* or timeout-*.
fuzz: $(VENV)/.installed-fuzz
	@mkdir -p demo/fuzz/corpus
	cd demo/fuzz && $(CURDIR)/$(BIN)/python $(CURDIR)/tests/fuzz_container.py -max_total_time=$(FUZZ_SECONDS) corpus

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

clean:
	rm -rf $(VENV) .venv-torch-* demo
