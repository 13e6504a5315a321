"""The typed form of `sources/<name>/`: ingested and cleaned once, whoever reads it."""

from datetime import date
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from nightloop.asof.params import LookbackDays
from nightloop.etl.params import Budget, Column, Expects, Extract, FileFormat, KnownAt, ReadParams
from nightloop.privacy.params import PiiTreatment
from nightloop.quality.params import Suite

DECLARED_SLACK_DAYS = 32  # a declared `known_at` may lie a month after the night that loaded it
ColumnName = Annotated[str, Field(pattern=r"^[^`\"';\\\x00-\x1f]{1,255}$")]  # no quote, no end of a statement


class Source(BaseModel):
    """One feed of files. Its folder holds `source.yaml`, `clean.sql` and `suite.yaml`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")
    owner: str
    description: str
    schedule: str = Field(description="cron in UTC; each tick is the as_of of one night")
    start: date = Field(description="first day on which the schedule ticks")
    uri: str = Field(description="folder of the files; a relative one lies below the landing zone")
    format: FileFormat
    extract: Extract | None = Field(default=None, description="the table that nights are read from, landed in `uri`")
    success_marker: str | None = Field(
        default=None,
        pattern=r"^([^/{}]|\{name\})+$",
        description="a file counts once this one lies beside it; `{name}` stands for its name, as in `{name}.done`",
    )
    expects: Expects | None = None
    columns: dict[ColumnName, Column] = Field(min_length=1)
    ignored_columns: tuple[str, ...] = ()
    keys: tuple[ColumnName, ...] = Field(min_length=1, description="columns of the clean table that name one record")
    known_at: KnownAt = KnownAt()
    event_time: str = Field(default="known_at", description="column of the clean table: when the event happened")
    tombstone: str | None = Field(default=None, description="SQL condition on the clean table: deletes its record")
    lookback_days: LookbackDays = "unbounded"
    pii: dict[str, PiiTreatment] = Field(default_factory=dict)
    not_pii: dict[str, str] = Field(
        default_factory=dict, description="columns that look like personal data and are none → why"
    )
    budget: Budget = Budget()
    retention_days: int | None = Field(default=None, ge=1, description="how long clean and quarantined rows are kept")
    raw_retention_days: int | None = Field(default=None, ge=1, description="how long rows are kept as received")
    clean_sql: str = Field(exclude=True, description="text of clean.sql: one SELECT over the view `raw`")
    suite: Suite = Field(exclude=True)

    @field_validator("uri")
    @classmethod
    def _stays_below(cls, uri: str) -> str:
        if ".." in uri.split("/"):
            raise ValueError("a folder below the landing zone, or a whole address, without a part `..`")
        return uri

    @property
    def is_widened(self) -> bool:
        """Whether a column was narrower before, so that the clean table may have to grow."""
        return any(column.widened_from for column in self.columns.values())

    @property
    def read(self) -> ReadParams:
        return ReadParams(
            format=self.format,
            columns=self.columns,
            ignored_columns=self.ignored_columns,
            known_at=self.known_at,
        )
