# Sheaf: `make demo` runs the main job on this machine; `make test` checks everything.
PYTHON  ?= python3
VENV    := .venv
BIN     := $(VENV)/bin
PIP     := $(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes
WORKERS ?= 2
URLS    ?=
OUTPUT  ?= pages.warc.gz
OPTIONS ?=
SEEDS   ?= 200
JOBS    ?= 2
ONLY    ?=
MINUTES ?= 60
SAMPLE  ?=
REDIS   ?=
QUICK   ?=
# Processes that run tests side by side: one a core where they compute, three where they wait, which most of them do.
CORES   := $(shell getconf _NPROCESSORS_ONLN)
PROCESSES ?= $(shell expr 3 \* $(CORES))
# What every kind of server has to do.
SERVER_TESTS = $(addprefix tests/integration/test_,$(addsuffix .py,fair_turns hands lock lock_trouble queue queue_trouble redis_version rq shared wakeup worker_registry))
BENCH_OPTIONS = $(addprefix --only ,$(ONLY)) $(if $(QUICK),--quick)

.DEFAULT_GOAL := help
.PHONY: help demo load bench bench-peers bench-more chaos chaos-errors chaos-containers fuzz lock lint unit test coverage test-server format up rq-info fetch-output stack-demo down

help:  ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

# --- the environment: hash-locked packages, then the project itself -------------------------------------------------

$(VENV)/.run: requirements/run.txt requirements/build.txt requirements/embedded.txt requirements/extra.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Sheaf needs Python 3.11 or newer, and \
	$(PYTHON) is older; name another one: make demo PYTHON=python3.12" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -f $@ || echo "Installing Sheaf and what it needs into $(VENV) (about half a minute) ..."
	@$(PIP) -r requirements/run.txt -r requirements/build.txt -r requirements/embedded.txt
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@# What the user's own tasks need: without hashes, but never another version of what is locked.
	@sed -nE 's/^([A-Za-z0-9._-]+==[^ ;]+).*/\1/p' requirements/run.txt > $(VENV)/locked.txt
	@! grep -q '^[^#[:space:]]' requirements/extra.txt || $(BIN)/python -m pip install -q --disable-pip-version-check \
	    -r requirements/extra.txt -c $(VENV)/locked.txt
	@touch $@

$(VENV)/.fuzz: $(VENV)/.dev requirements/fuzz.txt
	@$(PIP) -r requirements/fuzz.txt
	@touch $@

$(VENV)/.dev: $(VENV)/.run requirements/dev.txt
	@$(PIP) -r requirements/dev.txt
	@touch $@

# --- the main job, on this machine: no containers, nothing to install --------------------------------------------------

demo: $(VENV)/.run  ## load 2,000 pages of a local sample site into data/demo/pages.warc.gz, and check the file
	@PATH="$(CURDIR)/$(BIN):$$PATH" PYTHON="$(CURDIR)/$(BIN)/python" sh examples/demo.sh

load: $(VENV)/.run  ## load your own list: `make load URLS=my.txt OUTPUT=pages.warc.gz OPTIONS="--append"`
	@test -n "$(URLS)" || { echo "Which list? make load URLS=my.txt   (one URL a line)" >&2; exit 2; }
	@for list in $(URLS); do test "$$list" = - || test -r "$$list" || \
	    { echo "There is no list $$list here ($$PWD) that can be read: make load URLS=my.txt   (one URL a line)" >&2; exit 2; }; done
	@$(BIN)/sheaf status 2>/dev/null | grep -q '^[1-9][0-9]* worker' || $(BIN)/sheaf up --workers $(WORKERS)
	@$(BIN)/sheaf load $(URLS) -o $(OUTPUT) $(OPTIONS)
	@$(BIN)/sheaf verify $(OUTPUT)
	@echo "The cluster stays up for the next list; stop it with: $(BIN)/sheaf down"

bench: $(VENV)/.dev benchmarks/.venv/.peers  ## Sheaf beside bare pipelines, into docs/performance.md (12 minutes; `ONLY=load`, `QUICK=1`)
	@$(BIN)/python -m benchmarks $(BENCH_OPTIONS); status=$$?; \
	    benchmarks/.venv/bin/python -m benchmarks.report && exit $$status

bench-more: $(VENV)/.dev benchmarks/.venv/.peers  ## its own choices beside settings by hand; containers (14 minutes)
	@$(BIN)/python -m benchmarks --more $(BENCH_OPTIONS); status=$$?; \
	    benchmarks/.venv/bin/python -m benchmarks.report && exit $$status

bench-peers: $(VENV)/.dev benchmarks/.venv/.peers benchmarks/.venv-arq/.peers  ## Sheaf beside Scrapy, RQ, Celery, Dask, ... (12 minutes; `ONLY=`, `QUICK=1`)
	@$(BIN)/python -m benchmarks --peers $(BENCH_OPTIONS); status=$$?; \
	    benchmarks/.venv/bin/python -m benchmarks.report && exit $$status

chaos: $(VENV)/.dev  ## kill everything, SEEDS times, and write what came of it to docs/proof.md (15 minutes)
	@$(BIN)/sheaf torture --seeds $(SEEDS) --jobs $(JOBS) --folder .chaos/runs --results .chaos/results.jsonl \
	    --report docs/proof.md

chaos-errors: $(VENV)/.dev  ## everything that can fail fails, one thing a run, and into docs/proof.md (40 minutes; `SAMPLE=50` a means)
	@mkdir -p .chaos
	@for means in calls threads replies supervisor program; do \
	    rm -rf .chaos/errors; $(BIN)/python -m tests.chaos.errors $$means .chaos/errors $(if $(SAMPLE),--sample $(SAMPLE)) \
	    --results .chaos/results.jsonl || exit 1; done
	@$(BIN)/sheaf torture --seeds 0 --results .chaos/results.jsonl --report docs/proof.md

chaos-containers: $(VENV)/.dev  ## four containers, one of them paused for 60 s while it holds the fence; into docs/proof.md
	@mkdir -p .chaos
	@$(BIN)/python -m tests.compose.paused --results .chaos/results.jsonl
	@$(BIN)/sheaf torture --seeds 0 --results .chaos/results.jsonl --report docs/proof.md

benchmarks/.venv/.peers: requirements/bench.txt
	@test -x benchmarks/.venv/bin/python || $(PYTHON) -m venv benchmarks/.venv
	@benchmarks/.venv/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/bench.txt
	@touch $@

benchmarks/.venv-arq/.peers: requirements/bench-arq.txt
	@test -x benchmarks/.venv-arq/bin/python || $(PYTHON) -m venv benchmarks/.venv-arq
	@benchmarks/.venv-arq/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/bench-arq.txt
	@touch $@

# --- packages ------------------------------------------------------------------------------------------------------------

fuzz: $(VENV)/.fuzz  ## every parser of foreign bytes under a fuzzer, MINUTES in all (60; `ONLY="urls table"`); the tests do a minute of it
	@$(BIN)/python -m tests.fuzz --minutes $(MINUTES) $(ONLY)

lock:  ## resolve requirements/*.in anew into hash-locked requirements/*.txt (needs `uv`)
	for name in run build embedded dev fuzz bench bench-arq; do uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-annotate --no-header requirements/$$name.in -o requirements/$$name.txt; done

# --- checks -----------------------------------------------------------------------------------------------------------

lint: $(VENV)/.dev  ## style, types and layers
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

unit: $(VENV)/.dev  ## the fast tests only (no sockets)
	@$(BIN)/pytest -n $(CORES) tests/unit

test: $(VENV)/.dev  ## everything: lint, unit, integration, acceptance, and the container stack where there is an engine
	@# Meanwhile, on another core, the tests are compiled: in a fresh clone each process would do that by itself.
	@PYTHONDONTWRITEBYTECODE= $(BIN)/pytest --collect-only -qq > /dev/null 2>&1 & $(MAKE) --no-print-directory lint && wait
	@$(BIN)/pytest -n $(PROCESSES) -m "not serial"; beside=$$?; $(BIN)/pytest -m serial; alone=$$?; exit $$((beside | alone))

coverage: $(VENV)/.dev  ## which lines the tests reach, in the processes that they start too (`ONLY="tests/unit tests/integration"`); the page: .coverage/index.html
	@rm -rf .coverage && mkdir .coverage
	@COVERAGE_FILE=$(CURDIR)/.coverage/data $(BIN)/coverage run -m pytest -n $(PROCESSES) -m "not unmeasured" $(ONLY); status=$$?; cd .coverage && \
	    ../$(BIN)/coverage combine -q --rcfile ../pyproject.toml --data-file data && \
	    ../$(BIN)/coverage html -q --rcfile ../pyproject.toml --data-file data -d . && \
	    ../$(BIN)/coverage report --rcfile ../pyproject.toml --data-file data && exit $$status

test-server: $(VENV)/.dev  ## queue, locks and shared objects on another server, which is emptied: `make test-server REDIS=redis://127.0.0.1:6379/0`
	@test -n "$(REDIS)" || { echo "Which server? make test-server REDIS=redis://127.0.0.1:6379/0   (its data is deleted)" >&2; exit 2; }
	@SHEAF_TEST_REDIS_URL=$(REDIS) $(BIN)/pytest $(SERVER_TESTS)

format: $(VENV)/.dev  ## rewrite the code in the project's style
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

# --- the stack (needs a Docker engine with compose) -----------------------------------------------------------------------

up:  ## build and start the container stack: `make up WORKERS=4`
	docker compose up -d --build --wait --scale worker=$(WORKERS)

rq-info:  ## what RQ shows of the stack's queue and workers, as a user who can change nothing
	@docker compose run --rm rq info

fetch-output:  ## bring an output of the stack to ./output: `make fetch-output OUTPUT=pages.warc.gz`
	@mkdir -p output
	docker compose cp worker:/data/$(OUTPUT) output/

stack-demo:  ## the stack, and 2,000 pages of its own local site loaded into one file, here
	docker compose --profile site up -d --build --wait --scale worker=$(WORKERS)
	docker compose exec -T site python site.py --print-urls 2000 --base http://site:8000 \
	    | docker compose run --rm -T producer load - -o demo.warc.gz --allow-net "$$(docker compose exec -T site hostname -i)/32"
	docker compose run --rm -T producer verify demo.warc.gz
	@$(MAKE) --no-print-directory fetch-output OUTPUT=demo.warc.gz

down:  ## stop the stack; outputs stay in its volume (`docker compose down -v` deletes them)
	docker compose --profile '*' down
