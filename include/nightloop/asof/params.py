"""What the as-of views need to know of a source and of a label."""

import re
from collections.abc import Mapping
from math import ceil
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Unit = Literal["hours", "days", "months"]
_MOST_DAYS: Mapping[Unit, float] = {"hours": 1 / 24, "days": 1, "months": 31}


class Span(BaseModel):
    """A length of calendar time, written `36 hours`, `1 day` or `12 months`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: int = Field(ge=0)
    unit: Unit

    @model_validator(mode="before")
    @classmethod
    def _parse(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        match = re.fullmatch(r"(\d+) (hour|day|month)s?", value.strip())
        if match is None:
            raise ValueError(f"a span reads like `36 hours`, `1 day` or `12 months`, found {value!r}")
        return {"count": int(match[1]), "unit": f"{match[2]}s"}

    @property
    def sql(self) -> str:
        """The span as a Spark SQL interval."""
        return f"INTERVAL {self.count} {self.unit.upper()}"

    @property
    def most_days(self) -> int:
        """How many days it takes at the most."""
        return ceil(self.count * _MOST_DAYS[self.unit])

    def __str__(self) -> str:
        return f"{self.count} {self.unit if self.count != 1 else self.unit[:-1]}"


LookbackDays = Annotated[int, Field(ge=1)] | Literal["unbounded"]


class SourceView(BaseModel):
    """One source as a use case sees it: which record is which, and how records meet the spine's rows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    record_keys: tuple[str, ...] = Field(description="columns that name one record; its versions share them")
    join: dict[str, str] = Field(description="source column → spine column, equal for the rows that meet")
    lookback_days: LookbackDays = "unbounded"
    event_time: str = Field(default="known_at", description="when the recorded event happened")
    tombstone: str | None = Field(default=None, description="SQL condition: this version deletes its record")


class LabelParams(BaseModel):
    """When an outcome counts, and when it is complete."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    horizon: Span = Field(description="outcomes in (decision_time, decision_time + horizon] count")
    settlement_days: int = Field(default=0, ge=0, description="the sources' reporting lag after the horizon")
    observed_when: str | None = Field(
        default=None, description="SQL condition over label.sql's columns: an outcome can exist at all"
    )

    @model_validator(mode="after")
    def _check_horizon(self) -> Self:
        if self.horizon.count == 0:
            raise ValueError("a label's horizon must be longer than zero")
        return self
