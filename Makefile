# The few verbs of this project; hooks and CI call the same ones.
.DEFAULT_GOAL := help
BIN := .venv/bin
export NAME ?=
SUITE ?= quick
SHARED := -n 2 --dist loadscope --no-loadscope-reorder
TESTS_quick := $(SHARED) -m "not slow and not stack" --ignore=tests/e2e
TESTS_slow := $(SHARED) -m "slow or stack" --ignore=tests/e2e
TESTS_e2e := $(SHARED) -m "not data" tests/e2e --ignore=tests/e2e/test_chaos.py
TESTS_all := $(SHARED) $(addprefix --ignore=tests/e2e/test_,chaos.py lending_club.py nyc_taxi.py)
TESTS_feeds := $(SHARED) -m data tests/e2e
TESTS_chaos := tests/e2e/test_chaos.py

.PHONY: help setup demo up down test check format bench

help:  ## list the verbs
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup:  ## make the environment: packages, Horovod, Delta jars; safe to run twice
	@bash include/nightloop/setup/bootstrap.sh

demo: setup  ## show the whole loop through the real scheduler
	@$(BIN)/nightloop demo

up: setup  ## start the stack on its schedules
	@$(BIN)/nightloop up

down:  ## stop the stack
	@$(BIN)/nightloop down

test: setup  ## run the quick tests; SUITE=slow: those of minutes; SUITE=e2e: the whole loop; SUITE=all: these three; SUITE=feeds: on ../shared/data; SUITE=chaos: a month of random kills
	@$(BIN)/python -m pytest $(TESTS_$(SUITE))

check:  ## lint, types, layers; changes nothing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format:  ## bring the code into shape
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench:  ## run one benchmark: make bench NAME=night
	@$(BIN)/python -m benchmarks.$(NAME)
