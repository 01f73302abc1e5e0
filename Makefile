# Everything a reader needs: `make test` works on a fresh machine with Python 3.11 to 3.13.
# Choose the interpreter with `make PYTHON=python3.12 test`, pass arguments with `make test ARGS="-k verdict"`.

PYTHON ?= python3
ARGS ?=
BIN := .venv/bin
STAMP := .venv/.installed
# One test process, two threads: two processes with two threads each on two cores are 10 to 60 times slower.
PYTEST := OMP_NUM_THREADS=2 TOKENIZERS_PARALLELISM=false $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help .venv demo reproduce app notebooks test test-all test-long unsloth-cpu lint clean

help:  ## list the targets
	@grep -E '^[a-z.-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.venv: $(STAMP)  ## make the environment (again when requirements or pyproject changed)

$(STAMP): requirements.txt requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v <= (3, 13) else \
	  "Python 3.11, 3.12 or 3.13 is needed, this is %d.%d: choose one with make PYTHON=python3.12 ..." % v)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -r requirements.txt -r requirements-dev.txt
	$(BIN)/python -m pip install -e . --no-deps
	@touch $@

# Same reason: a training takes both cores.
RUN := OMP_NUM_THREADS=2 TOKENIZERS_PARALLELISM=false $(BIN)/python -m rmr1_lite

demo: $(STAMP)  ## the whole chain on the embedded default, in minutes: runs/demo/report.html
	$(RUN) demo $(ARGS)

reproduce: $(STAMP)  ## the README's nano table: three seeds, about an hour on two cores
	TOKENIZERS_PARALLELISM=false $(BIN)/python -m rmr1_lite reproduce $(ARGS)

app: $(STAMP)  ## the judge app on http://127.0.0.1:7860
	OMP_NUM_THREADS=2 TOKENIZERS_PARALLELISM=false $(BIN)/python app.py $(ARGS)

notebooks: $(STAMP)  ## build notebooks/*.ipynb from their sources; with ARGS="--run all" also run them and write HTML
	OMP_NUM_THREADS=2 $(BIN)/python notebooks/build.py $(ARGS)

test: $(STAMP)  ## the tests that need neither a browser nor patience (ten minutes at most)
	$(PYTEST) -m "not long and not browser" $(ARGS)

test-all: $(STAMP)  ## every test; a skipped browser test fails where CI or RMR1_REQUIRE_BROWSER is set
	$(PYTEST) $(ARGS)

test-long: $(STAMP)  ## what test-all adds to test
	$(PYTEST) -m "long or browser" $(ARGS)

# Unsloth patches every process that it is imported into, so it never enters .venv: a second environment on top of it.
UNSLOTH_STAMP := .venv-unsloth/.installed

$(UNSLOTH_STAMP): $(STAMP) requirements-gpu.txt
	$(PYTHON) -m venv .venv-unsloth
	$(BIN)/python -c 'import sysconfig; print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' \
	  > "$$(.venv-unsloth/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/kit.pth"
	.venv-unsloth/bin/python -m pip install --no-deps $$(grep -o '^unsloth[a-z_]*==[0-9.]*' requirements-gpu.txt)
	@touch $@

unsloth-cpu: $(UNSLOTH_STAMP)  ## Unsloth's own code, driven by the kit, without a GPU: six minutes on two cores
	OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false .venv-unsloth/bin/python -m pytest tests/unsloth_cpu $(ARGS)

lint: $(STAMP)  ## ruff: rules and layout
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .

clean:  ## remove the environment, caches and build artefacts; runs/ stays
	rm -rf .venv .venv-unsloth build dist *.egg-info .pytest_cache .ruff_cache .hypothesis unsloth_compiled_cache
	find . -name __pycache__ -not -path './.git/*' -type d -prune -exec rm -rf {} +
