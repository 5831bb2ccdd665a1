# "make" lists the targets. Each sets up .venv first, which downloads several gigabytes the first time.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
DISTS  := $(wildcard plugins/*)
READY  := $(VENV)/.ready
# The tests of a file share fixtures, so they run in one worker. One thread per worker keeps two workers on two cores.
# Python takes the encoding of files from the locale when it starts.
TEST   := LC_ALL=C.UTF-8 OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/pytest -n 2 --dist loadfile

# Share of the slow tests that test-share runs.
SHARE  := 0/5
# Distributions without an SDK, whose tests need neither PyTorch nor a compiler.
LIGHT  := pokeflow-browse pokeflow-metadata pokeflow-migrate pokeflow-s3
# Tests of the core itself, without those of the test tools and of this repository.
CORE   := $(filter-out tests/unit/mutation tests/unit/repository tests/unit/support,$(wildcard tests/unit/*))

.DEFAULT_GOAL := help
.PHONY: help demo test test-all test-share test-extras test-core lint bench mutate docs pictures dist coverage version \
	hooks clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The demo publishes to a tree of its own, which is deleted first, because published versions never change.
demo: $(READY) ## run and publish the lineage on drawn cards; four minutes on two cores
	$(BIN)/pokeflow
	rm -rf store/project/demo
	$(BIN)/pokeflow publish layout.root=project/demo
	$(BIN)/pokeflow ls layout.root=project/demo

test: $(READY) ## run the quick tests; four minutes on two cores
	$(TEST) -m "not slow and not long and not aws"

test-all: $(READY) ## run all tests except those in a real AWS account
	$(TEST) -m "not aws"

# All shares together are test-all.
test-share: $(READY) ## run the quick tests and a share of the slow ones, such as SHARE=2/5
	$(TEST) -m "not aws" --share $(SHARE)

# Ray's launcher has constraints of its own: docs/how-to/sweep-and-promote.md.
test-extras: $(READY) ## run the tests that need the client of MLflow on SageMaker
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable 'plugins/pokeflow-mlflow[sagemaker]'
	$(TEST) tests/unit/repository/test_docs.py plugins/pokeflow-mlflow/tests/test_connection.py

lint: $(READY) ## check style, types, imports, structure, names, prose, versions and workflows
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy pokeflow $(wildcard plugins/*/src)
	$(BIN)/lint-imports
	$(BIN)/python -m tests.structure
	$(BIN)/python -m tests.names
	$(BIN)/python -m tests.prose
	$(BIN)/python .github/scripts/release.py check
	$(BIN)/zizmor --offline --quiet .github

bench: $(READY) ## measure the core, transfers, tracking and devices
	$(BIN)/python -m tests.benchmarks
	$(BIN)/python -m tests.benchmarks.transfer
	$(BIN)/python -m tests.benchmarks.tracking
	$(BIN)/python -m tests.benchmarks.edge

docs: $(READY) ## write the generated reference and build the site into site/, without a warning
	$(BIN)/python docs/scripts/reference.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

pictures: $(READY) ## make the pictures of the pages; needs Chromium and npm, takes minutes
	$(BIN)/python docs/scripts/pictures.py

# ONNX and ONNX Runtime are installed because the skeleton of a target requires them. The other plugins are installed
# without their requirements, so that the backends of the default configuration are known.
test-core: .venv-core/.ready ## run the core's tests in .venv-core, without PyTorch and SDKs
	LC_ALL=C.UTF-8 OMP_NUM_THREADS=1 .venv-core/bin/pytest -n 2 --dist loadfile -m "not slow and not long and not aws" $(CORE)

.venv-core/.ready: constraints.txt pyproject.toml $(wildcard plugins/*/pyproject.toml)
	$(PYTHON) -m venv .venv-core
	.venv-core/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[joblib]' \
		$(LIGHT:%=--editable plugins/%) --editable 'plugins/pokeflow-vision[testing]' --editable tests/support \
		editables hatchling hypothesis 'moto[s3,server]' onnxruntime pytest-xdist
	.venv-core/bin/python -m pip install --quiet --no-deps $(DISTS:%=--editable %)
	touch $@

# Each wheel is built from its sdist.
dist: $(READY) ## build and check the sdist and the wheel of every distribution
	rm -rf dist
	for source in . $(DISTS); do $(BIN)/python -m build --no-isolation --outdir dist $$source || exit 1; done
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl

coverage: $(READY) ## measure the branch coverage of the core and of the plugins without an SDK
	rm -f .coverage .coverage.*
	LC_ALL=C.UTF-8 OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/coverage run -m pytest -n 2 --dist loadfile \
		-m "not slow and not long and not aws" $(CORE) $(LIGHT:%=plugins/%/tests)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

version: $(READY) ## write the version V=0.2.0, and every requirement on a sibling
	$(BIN)/python .github/scripts/release.py set $(V)
	$(BIN)/python .github/scripts/release.py check

hooks: $(READY) ## install the checks before each commit
	$(BIN)/pre-commit install

mutate: $(READY) ## print which changes of MODULE=pokeflow/gates.py no test notices
	LC_ALL=C.UTF-8 OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m tests.mutation $(MODULE)

clean: ## delete environments, the store and built files
	rm -rf $(VENV) .venv-core store .schema dist site

$(READY): constraints.txt pyproject.toml $(wildcard plugins/*/pyproject.toml) tests/support/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[all,dev,docs]' $(DISTS:%=--editable %) --editable tests/support
	touch $@
