# make demo   sets up, then runs the whole lineage on the embedded default and publishes it to a tree of its own
# make test   sets up, then passes the tests, but those that take minutes each: make test-all
# make mutate MODULE=pokeflow/gates.py   prints which changes of that module no test notices; without MODULE, of all
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
DISTS  := $(wildcard plugins/*)
READY  := $(VENV)/.ready
# A file's tests share what they set up, so they stay together; two workers with a thread each do not fight for cores.
# Python takes the encoding of files from the locale as it starts.
TEST   := LC_ALL=C.UTF-8 OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/pytest -n 2 --dist loadfile

.PHONY: demo test test-all test-extras lint bench mutate clean

# A tree of the demo's own, begun anew: what is published in the project's never changes, and demos do.
demo: $(READY)
	$(BIN)/pokeflow
	rm -rf store/project/demo
	$(BIN)/pokeflow publish layout.root=project/demo
	$(BIN)/pokeflow ls layout.root=project/demo

test: $(READY)
	$(TEST) -m "not long and not aws"

test-all: $(READY)
	$(TEST) -m "not aws"

# What needs MLflow on SageMaker, which the other tests do without. Ray's launcher has constraints of its own: docs/sweeps.md.
test-extras: $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable 'plugins/pokeflow-mlflow[sagemaker]'
	$(TEST) tests/unit/repository/test_docs.py plugins/pokeflow-mlflow/tests/test_connection.py

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy pokeflow $(wildcard plugins/*/src)
	$(BIN)/lint-imports
	$(BIN)/python -m tests.structure
	$(BIN)/python -m tests.names

bench: $(READY)
	$(BIN)/python -m tests.benchmarks
	$(BIN)/python -m tests.benchmarks.transfer
	$(BIN)/python -m tests.benchmarks.tracking
	$(BIN)/python -m tests.benchmarks.edge

mutate: $(READY)
	LC_ALL=C.UTF-8 OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m tests.mutation $(MODULE)

clean:
	rm -rf $(VENV) store .schema

$(READY): constraints.txt pyproject.toml $(wildcard plugins/*/pyproject.toml) tests/support/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[all,dev]' $(DISTS:%=--editable %) --editable tests/support
	touch $@
