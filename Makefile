# make demo    trains a SimNet on real handwritten digits (JAX), and writes runs/demo/
# make test    installs the three backends and runs every check: lint, tests, parity
# make test BACKENDS=jax    the same with one backend alone
# make fuzz    tries hostile files, killed runs, wrong calls and dtypes of all layers: make fuzz SEED=1 tries others
# make notebooks   executes tutorials/*.py as notebooks, and writes tutorials/*.ipynb and docs/pictures/
# The slow backends go first, since two run at once.
# make snippets BACKEND=jax      runs every snippet of README and docs where one backend is installed alone
# make wheel-test BACKEND=jax    builds a wheel, installs it into an empty environment, and uses it there
# make docs    builds the documentation into site/, and tests it in Chromium where that is installed
# Needs Python 3.11, pip and make; each command makes its own virtual environment.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BACKENDS ?= jax tensorflow torch
BACKEND ?= jax
DEMO ?= runs/demo
SEED ?= 0

export TF_CPP_MIN_LOG_LEVEL ?= 3
export PIP_DISABLE_PIP_VERSION_CHECK = 1

empty :=
space := $(empty) $(empty)
comma := ,
PINS := constraints.txt
SOURCES := pyproject.toml $(PINS)
TORCH := $(filter torch==%,$(shell cat $(PINS)))

DEMO_ENV := .venv
TEST_ENV := .venv-test
DOCS_ENV := .venv-docs
ALONE_ENV := .venv-$(BACKEND)
WHEEL_ENV := .venv-wheel-$(BACKEND)
DEMO_READY := $(DEMO_ENV)/.ready
TEST_READY := $(TEST_ENV)/.ready-$(subst $(space),-,$(strip $(BACKENDS)))
DOCS_READY := $(DOCS_ENV)/.ready
ALONE_READY := $(ALONE_ENV)/.ready
# keras-cv and TensorBoard's logs bring TensorFlow, so that a backend alone does without it
TEST_EXTRAS := $(BACKENDS) train tools $(if $(filter tensorflow,$(BACKENDS)),cv tensorboard)
RUN_TESTS := $(addprefix pytest-,$(BACKENDS))

.PHONY: demo docs test install-test lint pytest fuzz parity snippets wheel-test notebooks clean $(RUN_TESTS)

demo: $(DEMO_READY)
	KERAS_BACKEND=jax $(DEMO_ENV)/bin/structnets train simnet_2layer --dataset digits \
		--epochs 15 --batch-size 32 --learning-rate 0.003 --schedule cosine \
		--out $(DEMO) --overwrite

# Warnings are errors; the two variables silence notices on what may follow MkDocs 1.
docs: export NO_MKDOCS_2_WARNING = 1
docs: export DISABLE_MKDOCS_2_WARNING = true
docs: $(DOCS_READY)
	$(DOCS_ENV)/bin/mkdocs build --strict
	$(DOCS_ENV)/bin/python -m pytest -rs tests/test_docs.py

test: $(TEST_READY)
	$(MAKE) --no-print-directory lint
	$(MAKE) --no-print-directory -j2 $(RUN_TESTS) parity
	@echo "all checks passed on $(BACKENDS)"

install-test: $(TEST_READY)

lint: $(TEST_READY)
	$(TEST_ENV)/bin/ruff check .
	$(TEST_ENV)/bin/ruff format --check .
	$(TEST_ENV)/bin/lint-imports
	$(TEST_ENV)/bin/mypy keras_structnets

# One process per backend, two at once; each shows its output when it ends. What needs no backend
# runs once, beside the last. XLA optimizes little and keeps what it compiled, for tests compile much, often
# the same again, and compute little; parity leaves it as it is. PyTorch takes one thread, or the threads of
# two processes fight.
pytest-jax: export JAX_COMPILATION_CACHE_DIR = $(CURDIR)/$(TEST_ENV)/jax
pytest-jax: export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS = 0.2
pytest-jax: export JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES = -1
pytest: $(TEST_READY)
	$(MAKE) --no-print-directory -j2 $(RUN_TESTS)

$(RUN_TESTS): pytest-%: $(TEST_READY)
	@echo "pytest on $* ..."
	@log=$(TEST_ENV)/pytest-$*.log; status=0; \
	KERAS_BACKEND=$* XLA_FLAGS=--xla_backend_optimization_level=0 OMP_NUM_THREADS=1 \
		$(TEST_ENV)/bin/python -m pytest $(PYTEST) \
		$(if $(filter $*,$(lastword $(BACKENDS))),,-m 'not no_backend') > $$log 2>&1 || status=$$?; \
	echo "== pytest on $*"; cat $$log; exit $$status

parity: $(TEST_READY)
	$(TEST_ENV)/bin/python -m tests.parity --backends $(BACKENDS) $(PARITY)

snippets: $(ALONE_READY)
	KERAS_BACKEND=$(BACKEND) $(ALONE_ENV)/bin/python -m pytest -rs tests/test_snippets.py

# KERAS_BACKEND is not set: the library selects the backend that is installed.
wheel-test:
	rm -rf $(WHEEL_ENV)
	$(PYTHON) -m venv $(WHEEL_ENV)
	$(WHEEL_ENV)/bin/pip wheel --no-deps --wheel-dir $(WHEEL_ENV)/dist .
	wheel=$$(ls $(WHEEL_ENV)/dist/*.whl) && \
		$(WHEEL_ENV)/bin/pip install -c $(PINS) "$$wheel[$(BACKEND),train]"
	mkdir $(WHEEL_ENV)/run && cd $(WHEEL_ENV)/run && unset KERAS_BACKEND && export PATH=$$PWD/../bin:$$PATH && \
		python -c "import keras_structnets, keras; assert keras.backend.backend() == '$(BACKEND)'" && \
		structnets list && \
		structnets predict simnet_2layer_cifar10 $(CURDIR)/zoo/accuracy.png && \
		structnets train simnet_2layer --dataset digits --epochs 1 --out digits && \
		test -s digits/results.json

# Wrong calls, and 2,000 examples of the property of all layers, on each backend.
fuzz: $(TEST_READY)
	@set -e; for what in archives images kills; do $(TEST_ENV)/bin/python -m tests.fuzz $$what --seed $(SEED); done; \
	for backend in $(BACKENDS); do echo "== fuzz on $$backend"; export KERAS_BACKEND=$$backend; \
		$(TEST_ENV)/bin/python -m tests.fuzz calls --seed $(SEED) --count 5000; \
		EXAMPLES=2000 $(TEST_ENV)/bin/python -m pytest tests/test_properties.py; \
	done

notebooks: $(TEST_READY)
	$(TEST_ENV)/bin/python -m tests.notebooks
	$(TEST_ENV)/bin/python -m tests.pictures
	$(TEST_ENV)/bin/python -m tests.diagrams

$(DEMO_READY): $(SOURCES)
	$(PYTHON) -m venv $(DEMO_ENV)
	$(DEMO_ENV)/bin/pip install -c $(PINS) -e '.[jax,train]'
	@touch $@

# The source is read and not run: no Keras here, so the extra's list is installed without the package.
$(DOCS_READY): $(SOURCES)
	$(PYTHON) -m venv --clear $(DOCS_ENV)
	$(DOCS_ENV)/bin/python -c "import tomllib; project = tomllib.load(open('pyproject.toml', 'rb')); \
		print(*project['project']['optional-dependencies']['docs'])" \
		| xargs $(DOCS_ENV)/bin/pip install -c $(PINS)
	@touch $@

$(ALONE_READY): $(SOURCES)
	$(PYTHON) -m venv --clear $(ALONE_ENV)
	$(ALONE_ENV)/bin/pip install -c $(PINS) -e '.[$(BACKEND),train]' pytest
	@touch $@

# torch goes first and alone: its wheel pins libraries that the others would otherwise choose.
$(TEST_READY): $(SOURCES)
	$(PYTHON) -m venv --clear $(TEST_ENV)
	$(if $(filter torch,$(BACKENDS)),$(TEST_ENV)/bin/pip install $(TORCH))
	$(TEST_ENV)/bin/pip install -c $(PINS) -e '.[$(subst $(space),$(comma),$(strip $(TEST_EXTRAS)))]'
	@touch $@

clean:
	rm -rf $(DEMO_ENV) $(TEST_ENV) $(DOCS_ENV) $(wildcard .venv-*) site
