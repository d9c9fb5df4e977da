# make demo   an environment, then a synthetic tissue from raw image to scored cells
# make test   an environment, then the tests
# Both need Linux, Python 3.11 or later, git and the package index; nothing else.
PYTHON ?= python3
BIN := .venv/bin
export OMP_NUM_THREADS := 1

.PHONY: demo test lint types bench clean

demo: .venv/base
	$(BIN)/snakemake --profile profiles/local
	@$(BIN)/cellflow summary results/demo/tissue

test: .venv/test
	$(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

lint: .venv/test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/snakefmt --check Snakefile workflows

types: .venv/test
	$(BIN)/mypy

# Every solver on a graph phantom: make bench EDGES=10000000 ONLY="multicut gasp"
EDGES ?= 1000000
bench: .venv/test
	$(BIN)/python benchmarks/partition.py --size 0 --edges $(EDGES) $(if $(ONLY),--only $(ONLY))

clean:
	rm -rf .venv results .snakemake

.venv/base: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

.venv/test: .venv/base
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	touch $@
