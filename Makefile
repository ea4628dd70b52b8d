# rheostat. A machine needs Python 3.11 or newer, make and a package index; every target sets up the rest by itself.
#
#   make PYTHON=/path/to/python3     build the environment from this interpreter
#   make UV=/path/to/uv              install with this uv, instead of the one on PATH or a bootstrapped one
#   make test JOBS=4                 run tests in so many processes

PYTHON =
UV =
JOBS = 2

VENV := .venv
BIN := $(VENV)/bin
LOCKED := $(VENV)/.locked
READY := $(VENV)/.ready
UNFINISHED := .venv-unfinished
PYTEST := OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m pytest --numprocesses=$(JOBS) --dist=worksteal --durations=10

.PHONY: help setup demo test test-slow test-all check bench bench-beside bench-sweeps docs lock format clean
.DELETE_ON_ERROR:

help:
	@echo "make demo       a real language model: what each layer thinks, and one edit that changes the answer"
	@echo "make test       the fast tests        (make test-slow: the others; make test-all: both)"
	@echo "make check      the whole check: format, lint, types, import contracts, docs, fast tests"
	@echo "make bench      the benchmarks"
	@echo "make bench-beside  the same sweep by TransformerLens and nnsight, each in an environment of its own"
	@echo "make bench-sweeps  all benchmarks of sweeps, the long ones too; writes their tables into docs/benchmarks.md"
	@echo "make docs       the documentation, in build/site"
	@echo "make lock       requirements.lock from pyproject.toml"
	@echo "make format     format and fix the sources"
	@echo "make setup      only the environment, in $(VENV)"
	@echo "make clean      remove what the targets made, but keep $(VENV)"

demo: $(READY)
	@$(BIN)/rheostat demo

test: $(READY)
	$(PYTEST) --junit-xml=build/junit/fast.xml

test-slow: $(READY)
	$(PYTEST) -m slow --junit-xml=build/junit/slow.xml

test-all: $(READY)
	$(PYTEST) -m "slow or not slow" --junit-xml=build/junit/all.xml

check: $(READY)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy --strict src
	$(BIN)/lint-imports --no-logo
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	$(PYTEST) --junit-xml=build/junit/fast.xml

bench: $(READY)
	$(BIN)/python -m bench

bench-beside: $(READY)
	@set -e; $(find_uv); $(take_pip_index); UV="$$(command -v "$$uv")" $(BIN)/python -m bench.beside

bench-sweeps: $(READY)
	@set -e; $(find_uv); $(take_pip_index); \
	$(BIN)/python -m bench --only sweep --only sweep-long --out build/sweep.json; \
	UV="$$(command -v "$$uv")" $(BIN)/python -m bench.beside; \
	$(BIN)/python -m bench.page

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

format: $(READY)
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

# Keeps every pinned version that still fits; `make lock UPGRADE=--upgrade` takes the newest ones.
lock:
	@set -e; $(find_uv); $(take_pip_index); \
	"$$uv" pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes \
	  --custom-compile-command "make lock" --no-emit-index-url --no-emit-find-links $(UPGRADE) -o requirements.lock --quiet; \
	for library in bench/beside/*.in; do \
	  "$$uv" pip compile "$$library" --universal --python-version 3.11 --generate-hashes \
	    --custom-compile-command "make lock" --no-emit-index-url --no-emit-find-links $(UPGRADE) -o "$${library%.in}.txt" --quiet; \
	done

clean:
	rm -rf build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find src tests bench docs examples -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# --- environment ------------------------------------------------------------------------------------------------------
# Two stamps say what is done: LOCKED, the pinned packages; READY, rheostat itself. UNFINISHED exists while packages are
# being installed, so that an install that was cut off is started again from nothing.

setup: $(READY)

# Sets $$python to a full path. A name on PATH may be a shim that does not run, so each is tried.
find_python = python=; \
	for name in $(if $(PYTHON),"$(PYTHON)",python3 python3.13 python3.12 python3.11 python3.14); do \
	  python=$$("$$name" -c 'import sys; sys.version_info < (3, 11) and sys.exit(1); print(sys.executable)' 2>/dev/null) \
	    && break || python=; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "rheostat needs Python 3.11 or newer; $(or $(PYTHON:%=% is not),none is on PATH). Name one: make PYTHON=/path/to/python3" >&2; \
	  exit 1; \
	fi

# Sets $$uv: the one named, else the one on PATH, else one that pip puts into .uv.
find_uv = uv="$(UV)"; \
	if [ -n "$$uv" ] && ! "$$uv" --version >/dev/null 2>&1; then echo "UV=$$uv does not run" >&2; exit 1; fi; \
	if [ -z "$$uv" ] && uv --version >/dev/null 2>&1; then uv=uv; fi; \
	if [ -z "$$uv" ]; then \
	  uv=.uv/bin/uv; \
	  if ! "$$uv" --version >/dev/null 2>&1; then \
	    $(find_python); \
	    echo "Installing uv into .uv with pip" >&2; \
	    rm -rf .uv; \
	    { "$$python" -m venv .uv >/dev/null 2>&1 && .uv/bin/python -m pip install --quiet --disable-pip-version-check uv; } \
	      || { rm -rf .uv && "$$python" -m pip install --quiet --disable-pip-version-check --target .uv uv; } \
	      || { echo "uv could not be installed with pip. Install uv by hand, then: make UV=/path/to/uv" >&2; exit 1; }; \
	  fi; \
	fi; \
	export UV_HTTP_TIMEOUT="$${UV_HTTP_TIMEOUT:-300}"

# uv does not read pip's settings: hand over an index that was configured for pip only.
take_pip_index = index="$${PIP_INDEX_URL:-}"; \
	if [ -z "$$index" ]; then $(find_python); index=$$("$$python" -m pip config get global.index-url 2>/dev/null || true); fi; \
	if [ -n "$$index" ]; then export UV_DEFAULT_INDEX="$${UV_DEFAULT_INDEX:-$$index}"; fi

# An environment whose interpreter is gone, or that was moved or copied with its tree, is stale.
stale := $(shell test -x $(BIN)/python && test "$$(cat $(VENV)/.home 2>/dev/null || pwd -P)" = "$$(pwd -P)" || echo yes)
ifeq ($(stale),yes)
.PHONY: $(LOCKED)
endif
ifneq ($(wildcard $(UNFINISHED)),)
.PHONY: $(LOCKED)
endif

$(LOCKED): requirements.lock
	@set -e; $(find_uv); $(take_pip_index); \
	if [ -e $(UNFINISHED) ] || [ "$(stale)" = yes ] || [ ! -e $(VENV)/pyvenv.cfg ]; then \
	  $(find_python); \
	  touch $(UNFINISHED); \
	  rm -rf $(VENV); \
	  "$$uv" venv --quiet --python "$$python" $(VENV); \
	fi; \
	touch $(UNFINISHED); \
	rm -f $(READY); \
	pwd -P > $(VENV)/.home; \
	"$$uv" pip install --python $(BIN)/python --require-hashes --requirement requirements.lock; \
	touch $@; \
	rm $(UNFINISHED)

$(READY): $(LOCKED) pyproject.toml
	@set -e; $(find_uv); \
	"$$uv" pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .; \
	touch $@
