# Two commands for a fresh machine with Python 3.11+: `make demo` and `make test`.
# Both create .venv and install the package there, again only when pyproject.toml changed.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.installed

.PHONY: demo test test-all test-gpu lint clean

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

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf .venv demo dist build .mypy_cache .ruff_cache .pytest_cache

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "hybrid_dip needs Python 3.11 or newer; name one by: make PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $(READY)
