# Everything a reader needs: `make test` works on a fresh machine with Python 3.11 to 3.13.
# Choose the interpreter with `make PYTHON=python3.12 test`, pass arguments with `make test ARGS="-k verdict"`.

PYTHON ?= python3
ARGS ?=
BIN := .venv/bin
STAMP := .venv/.installed
# One test process, two threads: two processes with two threads each on two cores are 10 to 60 times slower.
PYTEST := OMP_NUM_THREADS=2 TOKENIZERS_PARALLELISM=false $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help .venv demo reproduce policy app notebooks test test-all test-long smol unsloth-cpu servers wheel wheel-check pins \
  lint clean serve-env scale scale-env

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

policy: $(STAMP)  ## a judge as the only reward of a small policy: three seeds and controls, half an hour on two cores
	TOKENIZERS_PARALLELISM=false $(BIN)/python -m rmr1_lite policy $(ARGS)

app: $(STAMP)  ## the judge app on http://127.0.0.1:7860
	OMP_NUM_THREADS=2 TOKENIZERS_PARALLELISM=false $(BIN)/python app.py $(ARGS)

notebooks: $(STAMP)  ## build notebooks/*.ipynb from their sources; with ARGS="--run all" also run them and write HTML
	OMP_NUM_THREADS=2 $(BIN)/python notebooks/build.py $(ARGS)

test: $(STAMP)  ## the tests that need neither a browser nor patience (a quarter of an hour at most)
	$(PYTEST) -m "not long and not browser and not smol" $(ARGS)

test-all: $(STAMP)  ## every test (smol's where it is here); a skipped browser test fails where CI or RMR1_REQUIRE_BROWSER is set
	$(PYTEST) $(ARGS)

test-long: $(STAMP)  ## what test-all adds to test
	$(PYTEST) -m "(long or browser) and not smol" $(ARGS)

smol: $(STAMP)  ## get the real model (93 MB from the package index) and run its tests: three minutes
	$(BIN)/python -m rmr1_lite models get smol
	RMR1_REQUIRE_SMOL=1 $(PYTEST) -m smol $(ARGS)

# $(call on_top_of_the_kit,FOLDER): an environment that sees the packages of .venv behind its own.
define on_top_of_the_kit
$(PYTHON) -m venv $(1)
$(BIN)/python -c 'import sysconfig; print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' \
  > "$$($(1)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/kit.pth"
endef

# Unsloth patches every process that it is imported into, so it never enters .venv: a second environment on top of it.
UNSLOTH_STAMP := .venv-unsloth/.installed

$(UNSLOTH_STAMP): $(STAMP) requirements-gpu.txt
	$(call on_top_of_the_kit,.venv-unsloth)
	.venv-unsloth/bin/python -m pip install --no-deps $$(grep -o '^unsloth[a-z_]*==[0-9.]*' requirements-gpu.txt)
	@touch $@

unsloth-cpu: $(UNSLOTH_STAMP)  ## Unsloth's own code, driven by the kit, without a GPU: six minutes on two cores
	OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false .venv-unsloth/bin/python -m pytest tests/unsloth_cpu $(ARGS)

# The kit stays a client: what serves has environments of its own (transformers serve is in .venv already).
VLLM_STAMP := .venv-vllm/.installed
LLAMA_STAMP := .venv-llama/.installed

$(VLLM_STAMP): $(STAMP) requirements-servers-vllm.txt
	$(call on_top_of_the_kit,.venv-vllm)
	.venv-vllm/bin/python -m pip install --no-deps --no-compile -r requirements-servers-vllm.txt
	@touch $@

# The converter to GGUF is in no wheel. pip asks a source archive for its name, and without build isolation that takes
# seconds; nothing is compiled.
LLAMA_SOURCE := .venv-llama/source
# llama-server and llama-quantize as scripts with llama.cpp's own command lines: no index has programs for this glibc.
LLAMA_PROGRAMS := tests/servers/llama_programs
LLAMA_LIBRARY := .venv-llama/lib/llama.cpp
# $(call llama_program,NAME,SCRIPT)
define llama_program
cp $(LLAMA_PROGRAMS)/$(2).py .venv-llama/bin/$(2).py
printf '#!/bin/sh\nexec "$$(dirname "$$0")/python" "$$(dirname "$$0")/$(2).py" "$$@"\n' > .venv-llama/bin/$(1)
chmod +x .venv-llama/bin/$(1)
endef

$(LLAMA_STAMP): $(STAMP) requirements-servers-llama.txt $(wildcard $(LLAMA_PROGRAMS)/*.py)
	$(call on_top_of_the_kit,.venv-llama)
	.venv-llama/bin/python -m pip install --no-deps -r requirements-servers-llama.txt
	.venv-llama/bin/python -m pip download --no-deps --no-build-isolation --no-binary :all: -d $(LLAMA_SOURCE) \
	  $$(sed -n 's/^# source: //p' requirements-servers-llama.txt)
	tar -xzf $(LLAMA_SOURCE)/llama_cpp_python-*.tar.gz -C $(LLAMA_SOURCE) --strip-components=3 --wildcards \
	  '*/vendor/llama.cpp/convert_hf_to_gguf.py' '*/vendor/llama.cpp/conversion' '*/vendor/llama.cpp/gguf-py'
	rm $(LLAMA_SOURCE)/llama_cpp_python-*.tar.gz
	rm -rf $(LLAMA_LIBRARY) && mkdir -p $(LLAMA_LIBRARY)
	@if [ "$$(uname -sm)" = "Linux x86_64" ] && command -v npm > /dev/null; then set -e; \
	  npm pack --silent --pack-destination $(LLAMA_LIBRARY) $$(sed -n 's/^# npm: //p' requirements-servers-llama.txt); \
	  tar -xzf $(LLAMA_LIBRARY)/*.tgz -C $(LLAMA_LIBRARY) --strip-components=3 package/bins/linux-x64; \
	  rm $(LLAMA_LIBRARY)/*.tgz; \
	else echo "llama-quantize is left out: its library is an npm package for Linux on x86_64, and needs npm."; fi
	$(call llama_program,llama-quantize,quantize)
	$(call llama_program,llama-server,server)
	@touch $@

serve-env: $(VLLM_STAMP) $(LLAMA_STAMP)  ## what serve and export can use on a CPU: vLLM, llama.cpp's server, converter and quantiser

servers: $(VLLM_STAMP) $(LLAMA_STAMP)  ## real servers behind the kit's client: transformers serve, vLLM, llama.cpp, Ray
	OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false $(BIN)/python -m pytest tests/servers $(ARGS)

# verl has other versions of transformers and tokenizers than the kit: its environment puts them before those of .venv.
SCALE_STAMP := .venv-scale/.installed

$(SCALE_STAMP): $(STAMP) requirements-scale.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if v in ((3, 11), (3, 12)) else \
	  "verl needs Python 3.11 or 3.12, this is %d.%d: choose one with make PYTHON=python3.12 ..." % v)'
	$(call on_top_of_the_kit,.venv-scale)
	.venv-scale/bin/python -m pip install --no-deps --no-compile -r requirements-scale.txt
	@touch $@

scale-env: $(SCALE_STAMP)  ## verl without a card, in an environment of its own: a minute

scale: $(STAMP)  ## what `scale verl` writes in verl's own hands, up to its check for a card; needs scale-env or RMR1_SCALE_PYTHON
	OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false $(BIN)/python -m pytest tests/scale $(ARGS)

# The same bytes whenever it is built; without build isolation nothing is downloaded for it.
wheel: $(STAMP)  ## build dist/rmr1_lite-*.whl (6 MB); what its extras are for is in docs/install.md
	rm -rf build dist
	SOURCE_DATE_EPOCH=315532800 $(BIN)/python -m pip wheel --no-deps --no-build-isolation -w dist .
	rm -rf build

wheel-check: $(STAMP)  ## build the wheel, install it into empty environments and use it there: two minutes, needs the index
	OMP_NUM_THREADS=2 TOKENIZERS_PARALLELISM=false $(BIN)/python tests/wheel/check.py

pins: $(STAMP)  ## do the pins and the extras resolve for Windows, macOS and Linux, Python 3.11 to 3.13? Needs the index, seven minutes
	$(BIN)/python -m pip install --quiet uv==0.13.9
	$(BIN)/python tests/platforms/resolve.py

lint: $(STAMP)  ## ruff: rules and layout; mypy: types
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

clean:  ## remove the environment, caches and build artefacts; runs/ stays
	rm -rf .venv .venv-unsloth .venv-vllm .venv-llama .venv-scale build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis \
	  unsloth_compiled_cache
	find . -name __pycache__ -not -path './.git/*' -type d -prune -exec rm -rf {} +
