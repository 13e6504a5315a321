"""How one source's files are read, typed and known."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

ColumnType = Literal["string", "int", "bigint", "double", "boolean", "date", "timestamp"]
FileFormat = Literal["csv", "jsonl", "parquet"]
_CHANGED_AT = "timestamp column: a night takes the rows changed since the night before; without it the whole table"
# not `bigint` to `double`, which is exact up to 2^53 only
WIDENINGS: Mapping[str, tuple[str, ...]] = {"bigint": ("int",), "double": ("int",)}


class Column(BaseModel):
    """One column of a source's contract."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: ColumnType
    required: bool = Field(default=False, description="a null sets the row aside")
    widened_from: tuple[ColumnType, ...] = Field(
        default=(), description="narrower types in which typed files (Parquet, databases, Delta) may still bring it"
    )
    description: str = ""

    @model_validator(mode="after")
    def _check_widening(self) -> Self:
        lossless = WIDENINGS.get(self.type, ())
        if lost := [each for each in self.widened_from if each not in lossless]:
            known = f"only {', '.join(lossless)}" if lossless else "no other type"
            raise ValueError(f"without loss a {self.type} is widened from {known}, not from {', '.join(lost)}")
        return self


class KnownAt(BaseModel):
    """When a record's version became known.

    `arrival`: when its file arrived. `column`: a column says so. `file_name`: the end of the period in the file's name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    by: Literal["arrival", "column", "file_name"] = "arrival"
    column: str | None = Field(default=None, description="by column: a date or timestamp column of the source")
    truncated_to: Literal["day", "month"] | None = Field(
        default=None, description="by column: the value is only good to this unit and counts as the unit's end"
    )
    pattern: str | None = Field(
        default=None, description="by file_name: a regular expression with groups year, month and optionally day"
    )


class ReadParams(BaseModel):
    """How files become rows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: FileFormat
    columns: dict[str, Column]
    ignored_columns: tuple[str, ...] = ()
    known_at: KnownAt = KnownAt()


class Expects(BaseModel):
    """What each night must bring before it is taken in; without it, a night without files is nothing unusual."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    files: int = Field(default=1, ge=1)
    deadline_hours: float = Field(gt=0, le=168, description="how long the night waits for them before it fails")


class DatabaseExtract(BaseModel):
    """A table or one SELECT of a SQL database, read each night and landed as Parquet."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["database"]
    connection: str = Field(
        pattern=r"^[a-z][a-z0-9_]{0,62}$",
        description="name of an Airflow connection, or of the variable NIGHTLOOP_CONNECTION_<NAME> with a URL",
    )
    table: str | None = Field(default=None, description="a table or view, with its schema where it has one")
    query: str | None = Field(default=None, description="one SELECT, in the database's own SQL")
    changed_at: str | None = Field(default=None, description=_CHANGED_AT)

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        if (self.table is None) == (self.query is None):
            raise ValueError("either `table` or `query`")
        return self


class DeltaExtract(BaseModel):
    """A Delta table outside the lake, read each night and landed as Parquet."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["delta"]
    location: str = Field(pattern=r"^(/|[a-z0-9]+://).+", description="absolute path or address of the table")
    changed_at: str | None = Field(default=None, description=_CHANGED_AT)


Extract = Annotated[DatabaseExtract | DeltaExtract, Field(discriminator="kind")]


@dataclass(frozen=True, slots=True)
class ChangeWindow:
    """Which rows one night takes: changed after the night before (None: since ever) and up to the night."""

    after: datetime | None
    to: datetime


class Budget(BaseModel):
    """How many rows of one night may be quarantined before the night fails; the stricter limit decides."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int | None = Field(default=None, ge=0)
    ratio: float = Field(default=0.05, ge=0, le=1)
