# The few verbs of this project; hooks and CI call the same ones.
.DEFAULT_GOAL := help
BIN := .venv/bin
export NAME ?=
SUITE ?= quick
TESTS_quick := -n 2 --dist loadfile -m "not slow and not stack" --ignore=tests/e2e
TESTS_slow := -n 2 --dist loadfile -m "slow or stack" --ignore=tests/e2e
TESTS_e2e := -n 2 --dist loadscope -m "not data" tests/e2e --ignore=tests/e2e/test_chaos.py
TESTS_feeds := -n 2 --dist loadscope -m data tests/e2e
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

test: setup  ## run the quick tests; SUITE=slow: those of minutes; SUITE=e2e: the whole loop; SUITE=feeds: on ../shared/data; SUITE=chaos: a month of random kills
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
