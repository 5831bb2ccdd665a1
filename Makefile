# make demo   sets up, then runs the whole lineage on the embedded default and publishes it to a tree of its own
# make test   sets up, then passes the quick tests: four minutes on two cores; make test-all passes all
# make docs   writes the generated reference and builds the documentation into site/, without a warning
# make mutate MODULE=pokeflow/gates.py   prints which changes of that module no test notices; without MODULE, of all
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
DISTS  := $(wildcard plugins/*)
READY  := $(VENV)/.ready
# A file's tests share what they set up, so they stay together; two workers with a thread each do not fight for cores.
# Python takes the encoding of files from the locale as it starts.
TEST   := LC_ALL=C.UTF-8 OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/pytest -n 2 --dist loadfile

# Which share of the slow tests test-share runs.
SHARE  := 0/5
# Distributions without an SDK, whose tests need neither PyTorch nor a compiler.
LIGHT  := pokeflow-browse pokeflow-metadata pokeflow-migrate pokeflow-s3
# Tests of the core itself; those of the test kit and of this repository are left out.
CORE   := $(filter-out tests/unit/support tests/unit/repository,$(wildcard tests/unit/*))

.PHONY: demo test test-all test-share test-extras lint bench mutate docs pictures clean test-core dist coverage version hooks

# A tree of the demo's own, begun anew: what is published in the project's never changes, and demos do.
demo: $(READY)
	$(BIN)/pokeflow
	rm -rf store/project/demo
	$(BIN)/pokeflow publish layout.root=project/demo
	$(BIN)/pokeflow ls layout.root=project/demo

test: $(READY)
	$(TEST) -m "not slow and not long and not aws"

test-all: $(READY)
	$(TEST) -m "not aws"

# All quick tests, and one share of the slow ones: SHARE=2/5. A sweep of the shares is a test-all.
test-share: $(READY)
	$(TEST) -m "not aws" --share $(SHARE)

# What needs MLflow on SageMaker, which the other tests do without.
# Ray's launcher has constraints of its own: docs/how-to/sweep-and-promote.md.
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
	$(BIN)/python -m tests.prose
	$(BIN)/python .github/scripts/release.py check
	$(BIN)/zizmor --offline --quiet .github

bench: $(READY)
	$(BIN)/python -m tests.benchmarks
	$(BIN)/python -m tests.benchmarks.transfer
	$(BIN)/python -m tests.benchmarks.tracking
	$(BIN)/python -m tests.benchmarks.edge

docs: $(READY)
	$(BIN)/python docs/scripts/reference.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# The pictures of the pages, from a run of their own on drawn cards; needs Chromium and takes minutes.
pictures: $(READY)
	$(BIN)/python docs/scripts/pictures.py

# The core's tests in an environment without PyTorch and SDKs: smaller, and for systems where these are missing.
# ONNX and ONNX Runtime are there because the skeleton of a target requires them.
# The other plugins are installed without what they require, so that the default configuration names their backends.
test-core: .venv-core/.ready
	LC_ALL=C.UTF-8 OMP_NUM_THREADS=1 .venv-core/bin/pytest -n 2 --dist loadfile -m "not slow and not long and not aws" $(CORE)

.venv-core/.ready: constraints.txt pyproject.toml $(wildcard plugins/*/pyproject.toml)
	$(PYTHON) -m venv .venv-core
	.venv-core/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[joblib]' \
		$(LIGHT:%=--editable plugins/%) --editable 'plugins/pokeflow-vision[testing]' --editable tests/support \
		editables hatchling hypothesis 'moto[s3,server]' onnxruntime pytest-xdist
	.venv-core/bin/python -m pip install --quiet --no-deps $(DISTS:%=--editable %)
	touch $@

# Sdist and wheel of every distribution, the wheel built from the sdist as an index's users would.
dist: $(READY)
	rm -rf dist
	for source in . $(DISTS); do $(BIN)/python -m build --no-isolation --outdir dist $$source || exit 1; done
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl

# Branch coverage of the core and the plugins without an SDK, by their own tests; pyproject.toml has the floor.
coverage: $(READY)
	rm -f .coverage .coverage.*
	LC_ALL=C.UTF-8 OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/coverage run -m pytest -n 2 --dist loadfile \
		-m "not slow and not long and not aws" $(CORE) $(LIGHT:%=plugins/%/tests)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

# make version V=0.2.0 writes the one version, and every requirement on a sibling.
version: $(READY)
	$(BIN)/python .github/scripts/release.py set $(V)
	$(BIN)/python .github/scripts/release.py check

hooks: $(READY)
	$(BIN)/pre-commit install

mutate: $(READY)
	LC_ALL=C.UTF-8 OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m tests.mutation $(MODULE)

clean:
	rm -rf $(VENV) .venv-core store .schema dist site

$(READY): constraints.txt pyproject.toml $(wildcard plugins/*/pyproject.toml) tests/support/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[all,dev,docs]' $(DISTS:%=--editable %) --editable tests/support
	touch $@
