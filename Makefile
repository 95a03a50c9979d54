# Two commands do everything: `make demo` and `make test`. Both create .venv first; a second run finds it in place.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
SAMPLE ?= sample_videos/bigbuckbunny.mp4
QUALITY ?= 5

.PHONY: demo test lint types unit bench speed clean

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

bench: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/rate_distortion.py sample_videos --json demo/rate_distortion.json

speed: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/speed.py $(SAMPLE)

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV) || python3 -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev,bench]"
	@touch $@

clean:
	rm -rf $(VENV) demo
