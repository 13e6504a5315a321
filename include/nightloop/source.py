"""The typed form of `sources/<name>/`: ingested and cleaned once, whoever reads it."""

from datetime import date

from pydantic import BaseModel, ConfigDict, Field

from nightloop.asof.params import LookbackDays
from nightloop.etl.params import Column, FileFormat, KnownAt, ReadParams
from nightloop.privacy.params import PiiTreatment
from nightloop.quality.params import Budget, Suite

Name = str


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
    columns: dict[str, Column] = Field(min_length=1)
    ignored_columns: tuple[str, ...] = ()
    keys: tuple[str, ...] = Field(min_length=1, description="columns of the clean table that name one record")
    known_at: KnownAt = KnownAt()
    event_time: str = Field(default="known_at", description="column of the clean table: when the event happened")
    tombstone: str | None = Field(default=None, description="SQL condition on the clean table: deletes its record")
    lookback_days: LookbackDays = "unbounded"
    pii: dict[str, PiiTreatment] = Field(default_factory=dict)
    budget: Budget = Budget()
    retention_days: int | None = Field(default=None, ge=1, description="how long clean and quarantined rows are kept")
    raw_retention_days: int | None = Field(default=None, ge=1, description="how long rows are kept as received")
    clean_sql: str = Field(exclude=True, description="text of clean.sql: one SELECT over the view `raw`")
    suite: Suite = Field(exclude=True)

    @property
    def read(self) -> ReadParams:
        return ReadParams(
            format=self.format,
            columns=self.columns,
            ignored_columns=self.ignored_columns,
            known_at=self.known_at,
        )
