"""What a model must show before it may score."""

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Metric = Literal["roc_auc", "pr_auc", "log_loss", "brier", "accuracy", "rmse", "mae"]

METRICS_OF_TASK: Mapping[str, tuple[Metric, ...]] = {
    "binary": ("roc_auc", "pr_auc", "log_loss", "brier", "accuracy"),
    "multiclass": ("roc_auc", "pr_auc", "log_loss", "brier", "accuracy"),
    "regression": ("rmse", "mae"),
}


class FairnessLimits(BaseModel):
    """Limits between the groups of one protected attribute, after Fairlearn's definitions; what is not given is free.

    Groups of fewer than 50 judged rows are left out.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    disparate_impact: float | None = Field(
        default=None, ge=0, le=1, description="least ratio of the groups' rates of favourable decisions"
    )
    selection_rate: float | None = Field(
        default=None, ge=0, le=1, description="greatest difference of the groups' rates of favourable decisions"
    )
    equal_opportunity: float | None = Field(
        default=None, ge=0, le=1, description="greatest difference of those rates among rows that deserve one"
    )


class PromotionParams(BaseModel):
    """Limits of the gate."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: Metric
    refresh_margin: float = Field(ge=0, description="a refresh may be worse by at most this much (metric units)")
    change_margin: float = Field(default=0.0, ge=0, description="a change must be better by more than this much")
    floors: dict[Metric, float] = Field(
        default_factory=dict, description="least (for errors: greatest) value that every champion must reach"
    )
    confidence: float = Field(
        default=0.95, gt=0.5, lt=1, description="1 - chance that any change within a year is promoted wrongly"
    )
    gates_per_year: int = Field(
        default=12, ge=1, description="gates on changes that share this chance, but for the last evenly"
    )
    resamples: int = Field(default=500, ge=100)
    min_rows: int = Field(default=200, ge=1, description="fewer judged rows are not enough evidence")
    min_positives: int = Field(default=20, ge=0)
    calibration_error: float | None = Field(
        default=None,
        gt=0,
        description="greatest calibration error: of probabilities (default 0.1), or of the mean per standard deviation "
        "of the label (default 0.25)",
    )
    slices: tuple[str, ...] = Field(
        default=(), description="categorical features whose groups may not become clearly worse by a change or refresh"
    )
    slice_margin: float = Field(default=0.0, ge=0, description="how much worse a slice may become (metric units)")
    noise_share: float = Field(
        default=0.5, ge=0, le=1, description="least share of the gain over no features that is left under noise"
    )
    max_size_mb: float | None = Field(default=None, gt=0, description="greatest size of the artifact")
    max_ms_per_1000_rows: float | None = Field(default=None, gt=0, description="greatest time to score 1,000 rows")
    favourable_decision: Literal[0, 1] = Field(default=1, description="the decision that people want, for fairness")
    fairness: dict[str, FairnessLimits] = Field(default_factory=dict, description="protected attribute → its limits")
    refit_correlation: float = Field(
        default=0.8, ge=-1, le=1, description="least rank correlation of a refit's scores with its judged twin's"
    )
    approval: Literal["auto", "human"] = "auto"

    @property
    def calibration_limit(self) -> float:
        """Return `calibration_error`, or its default; an error in values also shows in the metric, so more is allowed.

        >>> PromotionParams(metric="mae", refresh_margin=0).calibration_limit
        0.25
        """
        if self.calibration_error is not None:
            return self.calibration_error
        return 0.25 if self.metric in METRICS_OF_TASK["regression"] else 0.1
