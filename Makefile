# The few words everybody needs. Each works on a fresh machine with Python 3.11 or newer and make.
PYTHON ?= python3
DIR ?= dm-fhir-demo
BIN := .venv/bin
# One process more than there are cores (tests/conftest.py). A file stays in one, so its servers are started once; long files come first, as collected.
PARALLEL ?= -n auto --dist loadfile --no-loadscope-reorder
.DEFAULT_GOAL := help

.PHONY: demo test install lint types unit bench faults build schema findings examples lock clean help

help: ## what there is
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

demo: install ## the whole loop on invented patients; DIR=… for another folder
	$(BIN)/dm-fhir demo $(DIR)

test: lint types unit ## everything that must hold before a commit

install: .venv/.installed ## what demo and tests need, into .venv

.venv/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "dm-fhir needs Python 3.11 or newer; name one: make PYTHON=python3.12 …" >&2; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25'  # older ones give up on what s3fs and moto ask of botocore
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[demo,dev]'
	@touch $@

lint: install ## ruff, rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# On an installed copy: in the source tree the packages do not lie where they are imported from.
types: install ## mypy --strict
	rm -rf .build && mkdir .build
	$(BIN)/python -m build --quiet --outdir .build/dist . >.build/log 2>&1 || { cat .build/log >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target .build/installed .build/dist/*.whl
	cd .build/installed && $(CURDIR)/$(BIN)/mypy --config-file $(CURDIR)/pyproject.toml --python-executable $(CURDIR)/$(BIN)/python -p dm_fhir

unit: install ## the tests, on every core; PARALLEL= for one process
	$(BIN)/python -m pytest $(PARALLEL)

bench: install ## every benchmark, a quarter of an hour; BENCH=--quick for four minutes, ONLY="mapping store" for some
	$(BIN)/python benchmarks/bench.py $(ONLY) $(BENCH)

faults: install ## every fault of a server, and what dm-fhir did
	FAULT_TABLE=print $(BIN)/python -m pytest -q $(PARALLEL) tests/faults

build: install ## sdist and wheel, into dist
	$(BIN)/python -m build --outdir dist .

schema: install ## the published schemas of the case series and of the benchmarks' results, from the model
	$(BIN)/python -m dm_fhir.model.schema > src/dm_fhir/schemas/case-series.schema.json.new
	mv src/dm_fhir/schemas/case-series.schema.json.new src/dm_fhir/schemas/case-series.schema.json
	$(BIN)/python benchmarks/results.py > benchmarks/results.schema.json.new
	mv benchmarks/results.schema.json.new benchmarks/results.schema.json

findings: install ## docs/findings.md, from the kinds of finding
	$(BIN)/python -c 'from dm_fhir.model.findings import documentation as page; print(page(), end="")' > docs/findings.md.new
	mv docs/findings.md.new docs/findings.md

examples: install ## the examples in deploy, from dm-fhir schedule
	$(BIN)/python tests/schedule/examples.py

# What a container installs: every package with its hashes, for Python 3.11 and newer. uv reads UV_DEFAULT_INDEX, where there is a mirror.
lock: ## deploy/requirements.lock, anew; LOCK=--upgrade for newer versions
	$(PYTHON) -m venv .build/lock
	.build/lock/bin/python -m pip install --quiet --disable-pip-version-check uv
	.build/lock/bin/uv pip compile pyproject.toml --extra report --extra export --extra storage --universal --python-version 3.11 --generate-hashes \
	  --custom-compile-command "make lock" --quiet $(LOCK) --output-file deploy/requirements.lock

clean: ## what was built; not .venv
	rm -rf .build dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
