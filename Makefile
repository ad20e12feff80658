# Every target sets up what it needs: a fresh machine has Python 3.11 and a C++ compiler, nothing else.
# Two files at a time: each waits for processes, sockets and disks of its own.
PYTEST ?= .venv/bin/python -m pytest -n 2 --dist loadfile
WORKSPACE ?= workspace
# Of `make serve`: where browsers find the example shop.
HTTP ?= 8080
# CI adds "spark": pip extras of pyproject.toml.
EXTRAS ?= cpu,dev
# Of `make figures`: names with commas (all), and minutes.
ONLY ?=
BUDGET ?= 100000

.PHONY: help install demo serve test check lint figures render reference proto clean

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 16

install:  ## make .venv and install everything into it
	@deploy/install.sh $(EXTRAS)

demo: install  ## the whole path on a simulated marketplace, with its A/B report
	.venv/bin/tandem demo --workspace $(WORKSPACE)

serve: install  ## start the gateway on the bundle the demo left, with an example shop: HTTP=8080
	.venv/bin/tandem gateway serve --workspace $(WORKSPACE) --http $(HTTP) --shop --ui --timelines

test: install lint  ## lint, types and the whole test suite
	$(PYTEST)

check: install lint  ## lint, types and the quick tests: under 2 minutes
	$(PYTEST) -m "not slow"

lint: install  ## ruff and mypy
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

figures: install  ## measure the figures of README and docs anew, then render: ONLY=name,name BUDGET=minutes
	.venv/bin/python -m bench.figures measure --only "$(ONLY)" --budget $(BUDGET)
	.venv/bin/python -m bench.figures render

render: install  ## fill the tables of README and docs from docs/figures
	.venv/bin/python -m bench.figures render

reference: install  ## regenerate docs/reference from the command line, the settings and the schemas
	.venv/bin/python -m bench.reference

proto: install  ## regenerate the Python of proto/
	.venv/bin/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. --grpc_python_out=. proto/tandem/v1/tandem.proto proto/tandem/v1/log.proto
	rm -f proto/tandem/v1/log_pb2_grpc.py

clean:  ## remove the environment and caches (workspaces stay)
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
