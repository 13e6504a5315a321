"""Row rules: expectations of severity `quarantine`, compiled to Spark columns, so that every bad row is named."""

from collections.abc import Callable, Collection, Mapping
from functools import reduce
from operator import or_
from typing import Any

import sqlglot
from pyspark.sql import Column
from pyspark.sql import functions as F

from nightloop.fault import Fault, NightloopError
from nightloop.quality.params import Expectation, Suite

Rule = tuple[str, Column]
Kwargs = Mapping[str, Any]

_IGNORED = {"meta", "condition_parser", "row_condition", "column", "column_A", "column_B"}


def compile_row_rules(suite: Suite) -> list[Rule]:
    """Return (name, is violated) of each `quarantine` expectation; null values break only `not_be_null`.

    Rules are named `<expectation>:<column>`. `row_condition` (Spark SQL) limits a rule to the rows that satisfy it.

    Raises:
        NightloopError: an expectation judges no single row, or has an argument that a row rule cannot honour.
    """
    rules, faults = [], []
    for expectation in suite.expectations:
        if expectation.severity == "quarantine":
            fault = _find_fault(expectation)
            if fault is None:
                rules.append((name_rule(expectation), _compile(expectation)))
            else:
                faults.append(fault)
    if faults:
        raise NightloopError(faults)
    return rules


def split_suite(suite: Suite, columns: Collection[str]) -> tuple[Suite, Suite]:
    """Split a suite into the expectations that need no other columns than the given ones, and the rest."""
    known = set(columns)
    own = [each for each in suite.expectations if _columns_of(each) <= known]
    rest = [each for each in suite.expectations if _columns_of(each) - known]
    return Suite(expectations=tuple(own)), Suite(expectations=tuple(rest))


def name_rule(expectation: Expectation) -> str:
    """Return the name under which quarantine and checks speak of an expectation.

    >>> name_rule(Expectation(expect="expect_column_values_to_be_between", kwargs={"column": "age", "min_value": 0}))
    'expect_column_values_to_be_between:age'
    """
    return f"{expectation.expect}:{','.join(named_columns(expectation.kwargs))}".rstrip(":")


def named_columns(kwargs: Kwargs) -> list[str]:
    """Return the columns that an expectation's arguments name."""
    columns = [kwargs[key] for key in ("column", "column_A", "column_B") if key in kwargs]
    return [str(column) for column in [*columns, *(kwargs.get("column_list") or kwargs.get("column_set") or [])]]


def _columns_of(expectation: Expectation) -> set[str]:
    condition = sqlglot.parse_one(str(expectation.kwargs.get("row_condition") or "true"), dialect="spark")
    return {*named_columns(expectation.kwargs), *(column.name for column in condition.find_all(sqlglot.exp.Column))}


def _find_fault(expectation: Expectation) -> Fault | None:
    where = f"suite.yaml {name_rule(expectation)}"
    if expectation.expect not in _RULES:
        return Fault(where, f"one of {', '.join(sorted(_RULES))}", expectation.expect, "use severity fail or warn")
    accepted = _IGNORED | set(_RULES[expectation.expect][1])
    unknown = sorted(set(expectation.kwargs) - accepted)
    if unknown:
        return Fault(where, f"arguments among {', '.join(sorted(accepted))}", ", ".join(unknown), "remove them")
    return None


def _compile(expectation: Expectation) -> Column:
    kwargs = expectation.kwargs
    violated = F.coalesce(_RULES[expectation.expect][0](kwargs), F.lit(False))
    if kwargs.get("row_condition"):
        return F.expr(str(kwargs["row_condition"])) & violated
    return violated


def _value(kwargs: Kwargs) -> Column:
    return F.col(f"`{kwargs['column']}`")


def _outside(value: Column, kwargs: Kwargs) -> Column:
    low, high = kwargs.get("min_value"), kwargs.get("max_value")
    breaks = []
    if low is not None:
        breaks.append(value <= F.lit(low) if kwargs.get("strict_min") else value < F.lit(low))
    if high is not None:
        breaks.append(value >= F.lit(high) if kwargs.get("strict_max") else value > F.lit(high))
    return reduce(or_, breaks, F.lit(False))


def _pair(kwargs: Kwargs) -> tuple[Column, Column]:
    return F.col(f"`{kwargs['column_A']}`"), F.col(f"`{kwargs['column_B']}`")


def _not_greater(kwargs: Kwargs) -> Column:
    first, second = _pair(kwargs)
    return first < second if kwargs.get("or_equal") else first <= second


_BOUNDS = ("min_value", "max_value", "strict_min", "strict_max")
_RULES: dict[str, tuple[Callable[[Kwargs], Column], tuple[str, ...]]] = {
    "expect_column_values_to_not_be_null": (lambda k: _value(k).isNull(), ()),
    "expect_column_values_to_be_null": (lambda k: _value(k).isNotNull(), ()),
    "expect_column_values_to_be_between": (lambda k: _outside(_value(k), k), _BOUNDS),
    "expect_column_values_to_be_in_set": (lambda k: ~_value(k).isin(list(k["value_set"])), ("value_set",)),
    "expect_column_values_to_not_be_in_set": (lambda k: _value(k).isin(list(k["value_set"])), ("value_set",)),
    "expect_column_values_to_match_regex": (lambda k: ~_value(k).rlike(k["regex"]), ("regex",)),
    "expect_column_values_to_not_match_regex": (lambda k: _value(k).rlike(k["regex"]), ("regex",)),
    "expect_column_value_lengths_to_be_between": (lambda k: _outside(F.length(_value(k)), k), _BOUNDS),
    "expect_column_value_lengths_to_equal": (lambda k: F.length(_value(k)) != k["value"], ("value",)),
    "expect_column_pair_values_a_to_be_greater_than_b": (_not_greater, ("or_equal", "ignore_row_if")),
    "expect_column_pair_values_to_be_equal": (lambda k: _pair(k)[0] != _pair(k)[1], ("ignore_row_if",)),
}
ROW_RULES = frozenset(_RULES)
