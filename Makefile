# `make demo`, `make check` and `make test` are all that a new machine needs; Python >= 3.11 is the only requirement.
PYTHON ?= python3
CORES ?= $(shell $(PYTHON) -c "import os; print(len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count())")
BIN := .venv/bin

.PHONY: demo check test test-paper test-lowest lint docs lock clean

demo: .venv/installed
	$(BIN)/snakemake --cores $(CORES)
	@$(BIN)/deepssim show

# Tests that take minutes or need more than Python, by their marks (tests/conftest.py). `check` takes minutes without them.
SLOW := workflow or slurm or faults or browser or fuzz or benchmark

check: lint
	$(BIN)/python -m pytest -n $(CORES) --dist loadfile -m "not ($(SLOW) or paper)"

# Runs of the workflow use all processors, so these tests follow each other.
test: check
	$(BIN)/python -m pytest -m "$(SLOW)"

# Commands of the reference with networks of the paper's size: a quarter of an hour.
test-paper: .venv/installed-test
	$(BIN)/python -m pytest -m paper

# The lowest version of every dependency that pyproject.toml allows, on the lowest Python; needs uv. Other tests compare with results
# of the versions in envs/constraints.txt.
LOWEST := tests/stages/test_chain.py tests/config tests/datasets tests/images tests/registration tests/similarity
test-lowest:
	uv venv --clear --python 3.11 build/lowest
	uv pip install --python build/lowest/bin/python --resolution lowest-direct -e ".[test]"
	build/lowest/bin/python -m pytest -m "not ($(SLOW) or paper)" $(LOWEST)

lint: .venv/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint

.venv/installed: pyproject.toml envs/constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c envs/constraints.txt -e .
	touch $@

.venv/installed-test: .venv/installed
	$(BIN)/python -m pip install --quiet -c envs/constraints.txt -e ".[test,bench]"
	touch $@

# Site of the documentation; a warning, such as a link that leads nowhere, is an error.
docs: .venv/installed-docs
	$(BIN)/python docs/build_site.py
	$(BIN)/mkdocs build

.venv/installed-docs: .venv/installed
	$(BIN)/python -m pip install --quiet -c envs/constraints.txt -e ".[docs]"
	touch $@

# The versions of the constraints with hashes, for all platforms and Pythons; needs uv.
lock:
	uv pip compile pyproject.toml --extra dicom --extra nrrd --universal --python-version 3.11 --generate-hashes --no-annotate --quiet \
	  --custom-compile-command "make lock" --constraints envs/constraints.txt --output-file envs/lock.txt

clean:
	rm -rf results/* .snakemake
	git checkout -- results/README.md
