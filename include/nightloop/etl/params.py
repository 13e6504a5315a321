"""How one source's files are read, typed and known."""

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

ColumnType = Literal["string", "int", "bigint", "double", "boolean", "date", "timestamp"]
FileFormat = Literal["csv", "jsonl", "parquet"]
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
