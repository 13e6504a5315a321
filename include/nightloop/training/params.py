"""Recipes and how they are trained."""

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Value = int | float | str | bool
Params = Mapping[str, Value]
Family = Literal["tabular_net", "gradient_boosting", "linear"]
Task = Literal["binary", "multiclass", "regression"]

_PARAMS: Mapping[Family, frozenset[str]] = {
    "tabular_net": frozenset(
        [
            "width",
            "blocks",
            "members",
            "number_width",
            "bins",
            "dropout",
            "learning_rate",
            "weight_decay",
            "batch_rows",
            "epochs",
            "patience",
            "average_epochs",
            "focal_gamma",
            "quantization",
        ]
    ),
    "gradient_boosting": frozenset(
        ["learning_rate", "max_iterations", "max_leaf_nodes", "min_samples_leaf", "l2", "max_features"]
    ),
    "linear": frozenset({"penalty"}),
}
_COMMON_PARAMS = frozenset({"class_weight", "min_count", "target"})


class SearchRange(BaseModel):
    """Numbers that a search may try: whole ones where both ends are written without a point."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: int | float
    high: int | float
    log: bool = Field(default=False, description="try orders of magnitude evenly")

    @model_validator(mode="after")
    def _ends_in_order(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low must be below high, found {self.low} and {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"log needs low above 0, found {self.low}")
        return self


Space = Mapping[str, SearchRange | tuple[Value, ...]]


class Tuning(BaseModel):
    """A search for better parameters on the choose window, which the judging window never sees."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trials: int = Field(default=20, ge=2, description="at most so many; the first one is the recipe as it is written")
    minutes: float = Field(default=15, gt=0, description="no trial begins after this long")
    space: dict[str, SearchRange | tuple[Value, ...]] = Field(
        default_factory=dict, description="parameter → its span or its values; default: the family's own space"
    )


class Recipe(BaseModel):
    """How a model is made, apart from the data: what a change of recipe changes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    family: Family
    half_life_days: float | None = Field(default=None, gt=0, description="weight of a row halves per this age")
    params: dict[str, Value] = Field(default_factory=dict, description="the family's parameters")
    tuning: Tuning | None = Field(default=None, description="search for better ones first")

    @model_validator(mode="after")
    def _params_of_family(self) -> Self:
        known = _PARAMS[self.family] | _COMMON_PARAMS
        searched = () if self.tuning is None else self.tuning.space
        if unknown := sorted({*self.params, *searched} - known):
            raise ValueError(f"{self.family} has no parameter {', '.join(unknown)}; it has {', '.join(sorted(known))}")
        if (found := self.params.get("quantization", "int8")) != "int8":
            raise ValueError(f"quantization must be int8, found {found}; leave it out for float32")
        return self

    @property
    def name(self) -> str:
        aged = "" if self.half_life_days is None else f"-half-life-{self.half_life_days:g}d"
        quantized = "-int8" if "quantization" in self.params else ""
        return f"{self.family}{aged}{quantized}{'' if self.tuning is None else '-tuned'}"


class TrainingParams(BaseModel):
    """Windows in time, candidates, and what training may use."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    window_days: int = Field(gt=0, description="decision times this far back from a cut are trained on")
    judging_days: int = Field(gt=0, description="decision times matured in this many days before as_of judge")
    judging_windows: int = Field(
        default=1,
        ge=1,
        description="where one window has too few rows or positives, up to so many, one before the other, are pooled",
    )
    choose_ratio: float = Field(
        default=0.15, gt=0, lt=0.5, description="the youngest share of the fit window chooses epochs and threshold"
    )
    candidates: tuple[Recipe, ...] = Field(min_length=1)
    ranks: int = Field(default=2, ge=1, description="Horovod ranks of a tabular_net")
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    budget_minutes: float = Field(default=30, gt=0)
    seed: int = 7
    refresh_schedule: str | None = Field(default=None, description="cron of a refresh without drift")

    @property
    def judged_days(self) -> int:
        """How far before a night its oldest judging window may open."""
        return self.judging_windows * self.judging_days
