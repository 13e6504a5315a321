"""Effect sizes and rules of evidence for the decision to retrain."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Evidence(BaseModel):
    """M of the last N nights must agree; a missing night is no evidence."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    m: int = Field(default=2, ge=1)
    n: int = Field(default=3, ge=1)

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.m > self.n:
            raise ValueError(f"m of n nights: m must not exceed n, found m={self.m}, n={self.n}")
        return self


class DriftParams(BaseModel):
    """When a distance is drift. Distances are effect sizes, so they do not grow with the row count."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    numeric_distance: float = Field(default=0.2, gt=0, description="least PSI of a numeric column that is drift")
    categorical_distance: float = Field(default=0.1, gt=0, description="least Jensen-Shannon distance (base 2)")
    missing_jump: float = Field(default=0.3, gt=0, le=1, description="rise of a missing rate that is a broken feed")
    volume_drop: float = Field(default=0.5, gt=0, le=1, description="fall of the row count that is a broken feed")
    range_jump: float = Field(
        default=0.5, gt=0, le=1, description="rise of the share far outside the first nights' range: a broken feed"
    )
    performance_drop: float = Field(default=0.15, gt=0, description="relative loss of the metric that is a fall")
    quiet_factor: float = Field(default=3.0, ge=1, description="a limit is at least this many quiet-night distances")
    evidence: Evidence = Evidence()
    baseline_nights: int = Field(default=7, ge=1, description="nights pooled into a baseline; no alarm before that")
    cooldown_nights: int = Field(default=7, ge=0, description="nights in which a column raises no second alarm")
    ignored: tuple[str, ...] = Field(default=(), description="columns that move with the season: shown, never a cause")
    min_rows: int = Field(default=200, ge=1, description="fewer rows in a night are no evidence")
    min_new_rows: int = Field(default=500, ge=1, description="matured rows like tonight's that make retraining useful")
    # measured: Evidently draws 20 columns of so many rows in 7 s, and of half a million in 65 s
    report_rows: int = Field(default=20_000, ge=100, description="rows sampled for the Evidently report")
