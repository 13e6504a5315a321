"""Recipes and how they are trained."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Family = Literal["tabular_net", "gradient_boosting", "linear"]
Task = Literal["binary", "multiclass", "regression"]


class Recipe(BaseModel):
    """How a model is made, apart from the data: what a change of recipe changes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    family: Family
    half_life_days: float | None = Field(default=None, gt=0, description="weight of a row halves per this age")
    params: dict[str, int | float | str | bool] = Field(default_factory=dict, description="the family's parameters")

    @property
    def name(self) -> str:
        return self.family if self.half_life_days is None else f"{self.family}-half-life-{self.half_life_days:g}d"


class TrainingParams(BaseModel):
    """Windows in time, candidates, and what training may use."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    window_days: int = Field(gt=0, description="decision times this far back from a cut are trained on")
    judging_days: int = Field(gt=0, description="decision times matured in this many days before as_of judge")
    choose_ratio: float = Field(
        default=0.15, gt=0, lt=0.5, description="the youngest share of the fit window chooses epochs and threshold"
    )
    candidates: tuple[Recipe, ...] = Field(min_length=1)
    ranks: int = Field(default=2, ge=1, description="Horovod ranks of a tabular_net")
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    budget_minutes: float = Field(default=30, gt=0)
    seed: int = 7
    refresh_schedule: str | None = Field(default=None, description="cron of a refresh without drift")
