# UniDD. `make` lists what can be made; `make reproduce` makes all of it.

PYTHON ?= python3
VENV   ?= .venv
SUITE  ?= embedded
CORES  ?= 2
# Another budget than that of the suite's file, such as BUDGET=paper; its records lie under <suite>-<budget>
BUDGET ?=
# Where jobs run: PROFILE=slurm; or PROFILE=gpus GPUS=0,1,2,3, a job on each of these at a time; 0,0: two on one
PROFILE ?=
GPUS    ?=
DEVICE  ?= $(if $(PROFILE),cuda)
# More options for Snakemake, such as SNAKEMAKE_OPTIONS="--dry-run" or "--forceall" (run finished jobs again)
SNAKEMAKE_OPTIONS ?=
# Which notebooks `make notebooks` refreshes
NOTEBOOKS ?= $(wildcard notebooks/*.py)
# Which mutants `make mutants` tries; none tries all
MUTANTS ?=
# Options of the timings, such as BENCH="--device cuda" or BENCH="--steps 50"
BENCH ?=
# What checks the explorers' JavaScript; version 9 runs on Node.js 18.18 and newer
ESLINT ?= eslint@9.39.1

BIN       := $(VENV)/bin
INSTALLED := $(VENV)/.unidd-installed
BOOK      := _build/.book-built
SOURCES   := $(wildcard _config.yml _toc.yml book/*.* book/*/*.* notebooks/*.py notebooks/*.ipynb unidd/*.* \
               unidd/*/*.* unidd/book/explorers/*.js results/*.json results/*/*.json results/studies/*/*.json \
               _runs/*/*.json)

# Many processes import the same modules: what is compiled is kept, whatever the surroundings say.
unexport PYTHONDONTWRITEBYTECODE

# Teachers are shared by batch, book and notebook tests. Progress bars have no place in a page or a log.
export UNIDD_CACHE ?= $(CURDIR)/_cache
quiet := TQDM_DISABLE=1
# Memory that a process of tests frees serves it again, as in `unidd.bench.machine.keep_memory`: a tenth of its time.
kept := MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=4000000000
elsewhere := $(quiet) OMP_NUM_THREADS=1 JUPYTER_PATH=$(CURDIR)/_build/elsewhere
comma := ,
jobs_at_once = $(if $(GPUS),$(words $(subst $(comma), ,$(GPUS))),$(CORES))
chosen = suite=$(SUITE) $(if $(BUDGET),budget=$(BUDGET)) $(if $(DEVICE),device=$(DEVICE)) $(if $(GPUS),gpus=$(GPUS))
profile = $(if $(PROFILE),$(which_gpus)--profile workflow/profiles/$(PROFILE))
which_gpus = $(if $(filter gpus,$(PROFILE)),$(if $(GPUS),,$(error PROFILE=gpus needs the GPUs, such as GPUS=0$(comma)1)))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup reproduce batch plan book test units lint lint-js check coverage mutants notebooks bench gpu pins clean distclean chromium

help: ## list what can be made
	@echo "UniDD: dataset distillation through spectral filters. Targets:"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo "Variables: PYTHON=$(PYTHON) VENV=$(VENV) SUITE=$(SUITE) CORES=$(CORES) BUDGET=… PROFILE=… GPUS=… DEVICE=…"
	@echo "           SNAKEMAKE_OPTIONS=… NOTEBOOKS=… BENCH=…"

setup: $(INSTALLED) ## make the virtual environment (once; some GB with torch)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: UniDD needs Python 3.11 or newer, and '$(PYTHON)' is not: try make setup PYTHON=python3.11" >&2; \
	  exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -c constraints.txt -e ".[embedded,show,book,test,batch]"
	@touch $@

reproduce: setup ## set up, run the batch on embedded photographs, build the book from it
	$(MAKE) batch
	$(MAKE) book
	@echo "Open _build/html/index.html in a browser, from the disk as it is: every page works without a server"

batch: setup ## run the jobs of SUITE that are not done yet; records go to _runs/
	$(BIN)/snakemake --snakefile workflow/Snakefile $(profile) --config $(chosen) --cores $(jobs_at_once) \
	  --rerun-triggers params --rerun-incomplete --keep-going --nolock --quiet host reason $(SNAKEMAKE_OPTIONS)

plan: setup ## say what the jobs of SUITE will take here, from a few real steps of each: minutes; with DEVICE=h100 those of a GPU that is not here
	$(quiet) $(BIN)/python workflow/forecast.py $(SUITE) $(if $(BUDGET),--budget $(BUDGET)) $(if $(DEVICE),--device $(DEVICE))

book: setup ## build the book afresh, every notebook executed as where only the wheel is, warnings as errors
	rm -rf _build/html _build/.doctrees $(BOOK)
	$(BIN)/python workflow/elsewhere.py _build/elsewhere
	sed 's/execute_notebooks: force/execute_notebooks: cache/' _config.yml > _build/_config.yml
	$(elsewhere) $(BIN)/python workflow/execute_pages.py _build/.jupyter_cache notebooks/*.ipynb
	$(elsewhere) $(BIN)/jupyter-book build . --config _build/_config.yml -W -n --keep-going
	@touch $(BOOK)

$(BOOK): $(SOURCES)
	$(MAKE) book

test: setup chromium ## lint, all tests and doctests, then every page
	$(MAKE) -j2 units $(BOOK)
	$(quiet) $(BIN)/python -m pytest -n $(CORES) --dist loadgroup -m "browser and not quiet" tests/browser tests/test_notebooks.py
	$(quiet) $(BIN)/python -m pytest -m quiet tests/browser tests/bench/test_plan.py

# Beside the book, which for a third of its time is one process.
units: lint ## all tests and doctests but those of the pages
	$(quiet) $(kept) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(CORES) --dist worksteal -m "not browser and not quiet" \
	  --ignore tests/browser tests unidd

chromium:
	@command -v chromium >/dev/null && command -v chromedriver >/dev/null || { \
	  echo "error: the tests open the book in a browser: install Chromium and its driver" >&2; \
	  echo "       (Debian: apt-get install chromium chromium-driver)" >&2; exit 1; }

lint: setup ## check style and types, those of JavaScript too if npm can fetch its linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright --level error
	@if npx --yes $(ESLINT) --version >/dev/null 2>&1; then $(MAKE) --no-print-directory lint-js; \
	  else echo "npm cannot fetch ESLint here: the explorers' JavaScript is not checked"; fi

lint-js: ## check the style of the explorers' JavaScript
	@command -v npm >/dev/null || { \
	  echo "error: ESLint checks the explorers' JavaScript, and needs npm: install Node.js with npm" >&2; \
	  echo "       (Debian: apt-get install nodejs npm)" >&2; exit 1; }
	npx --yes $(ESLINT) unidd/book/explorers book/_static

check: setup ## style, types and the fast tests, without the book: about a minute
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright --level error
	$(quiet) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(CORES) -m "not slow and not browser" tests unidd

coverage: setup ## which lines of core and engine their tests do not run
	$(quiet) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m "not browser" --cov --cov-report= tests/core tests/data \
	  tests/engine tests/methods
	$(BIN)/coverage report --include "unidd/core/*,unidd/engine/*" --fail-under 95

mutants: setup ## which changes to core and the augmentation no test notices: hours; MUTANTS="unidd.core.filters.*" for some
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[mutants]"
	$(quiet) OMP_NUM_THREADS=1 $(BIN)/mutmut run --max-children $(CORES) $(MUTANTS)
	$(BIN)/mutmut results

notebooks: setup ## update the .ipynb from their .py and execute them, as if nothing had been run here
	$(BIN)/python workflow/first_cell.py
	$(BIN)/jupytext --quiet --to ipynb --update $(NOTEBOOKS)
	$(quiet) UNIDD_RUNS=$(CURDIR)/_build/none $(BIN)/python workflow/execute_notebooks.py $(NOTEBOOKS:.py=.ipynb)

bench: setup ## time a step beside a plain pass and a plain implementation, on a quiet machine
	$(quiet) $(BIN)/python benchmarks/step_cost.py $(BENCH)
	$(quiet) $(BIN)/python benchmarks/step_options.py $(BENCH)
	$(quiet) $(BIN)/python benchmarks/growth.py $(BENCH)

gpu: ## agreement, speed and one cell on a GPU: at most 8 minutes; needs torch and torchvision alone
	$(PYTHON) benchmarks/gpu.py $(BENCH)

pins: setup ## write constraints.txt and environment.yml from what is installed
	$(BIN)/python workflow/pins.py

clean: ## remove the built book and the tools' caches; keep records, teachers and data
	rm -rf _build .pytest_cache .ruff_cache .hypothesis

distclean: clean ## also remove records, teachers and the virtual environment
	rm -rf _runs _cache .snakemake $(VENV) unidd.egg-info
