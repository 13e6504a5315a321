"""What a model must show before it may score."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Metric = Literal["roc_auc", "pr_auc", "log_loss", "brier", "accuracy", "rmse", "mae"]


class PromotionParams(BaseModel):
    """Limits of the gate."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: Metric
    refresh_margin: float = Field(ge=0, description="a refresh may be worse by at most this much (metric units)")
    change_margin: float = Field(default=0.0, ge=0, description="a change must be better by more than this much")
    floors: dict[Metric, float] = Field(
        default_factory=dict, description="least (for errors: greatest) value that every champion must reach"
    )
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    resamples: int = Field(default=500, ge=100)
    min_rows: int = Field(default=200, ge=1, description="fewer judged rows are not enough evidence")
    min_positives: int = Field(default=20, ge=0)
    fairness: dict[str, float] = Field(
        default_factory=dict, description="protected attribute → least disparate-impact ratio of selection rates"
    )
    refit_correlation: float = Field(
        default=0.8, ge=-1, le=1, description="least rank correlation of a refit's scores with its judged twin's"
    )
    approval: Literal["auto", "human"] = "auto"
