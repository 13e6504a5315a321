"""Suites of expectations and the budget for bad rows."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Severity = Literal["fail", "quarantine", "warn"]


class Expectation(BaseModel):
    """One Great Expectations expectation with the consequence of its failure."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    expect: str = Field(description="the expectation's name in snake case, e.g. expect_column_values_to_be_between")
    severity: Severity = Field(default="fail", description="fail stops · quarantine sets the row aside · warn reports")
    kwargs: dict[str, Any] = Field(default_factory=dict, description="the expectation's own arguments")


class Suite(BaseModel):
    """What must hold of one dataset's partition."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    expectations: tuple[Expectation, ...] = ()
