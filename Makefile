# Two commands for a fresh machine with Python 3.11+: `make demo` and `make test`.
# Both create .venv and install the package there, again only when pyproject.toml changed.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.installed

.PHONY: demo test test-all test-gpu benchmark-gpu docs lint clean

demo: $(READY)
	$(BIN)/hybrid-dip demo -o demo

# A process a core, each with the tests of one file at a time.
SHARED := -n auto --dist loadfile

test: $(READY)
	$(BIN)/python -m pytest $(SHARED)

test-all: $(READY)
	$(BIN)/python -m pytest $(SHARED) -m ''

test-gpu: $(READY)
	$(BIN)/python -m pytest -m gpu -rs

# Both sides of each pair on one CUDA device, meant for about ten minutes with one photograph of 512 pixels a side at least.
ON_GPU := --device cuda --precision bfloat16 --graph
STEP := $(BIN)/python benchmarks/step.py --device cuda
benchmark-gpu: $(READY)
	@test -n "$(IMAGES)" || { echo "name a photograph of 512x512 pixels or more: make benchmark-gpu IMAGES=a.png" >&2; exit 1; }
	$(STEP) --plain --sizes 512 --precision tf32 bfloat16 --graph on --steps 100 --rounds 1
	$(STEP) --plain --sizes 512 --precision bfloat16 --compile on --graph on --steps 100 --rounds 1
	$(STEP) --presets fast --sizes 256 512 --precision bfloat16 --graph off on --steps 50
	$(STEP) --presets original --sizes 512 --precision bfloat16 --parts
	for preset in original fast; do $(BIN)/python benchmarks/time_to_quality.py --task denoise --size 512 --preset $$preset \
	  --images $(IMAGES) $(ON_GPU) --cache gpu/curves --json gpu/$$preset.json --plot gpu/$$preset.png || exit 1; done
	$(BIN)/python benchmarks/many.py --images $(IMAGES) --size 256 --count 4 --workers 1 4 --device cuda --execution --graph on

# The pages of docs/, an API reference and the gallery, whose scripts are run: about ten minutes. HYBRID_DIP_GALLERY=small runs them
# with few steps. A script runs again when it has changed; after `rm -r docs/generated` all do.
docs: $(READY)
	$(BIN)/sphinx-build -W --keep-going -c docs -d docs/_build/doctrees . docs/_build/html

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/hadolint Dockerfile

clean:
	rm -rf .venv demo dist build docs/_build docs/generated .mypy_cache .ruff_cache .pytest_cache

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "hybrid_dip needs Python 3.11 or newer; name one by: make PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $(READY)
