"""How much a column may say about the label before it is refused."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(gt=0, le=1)]
Reason = Annotated[str, Field(min_length=10)]


class Limit(BaseModel):
    """A figure from `fail` on refuses the training; one from `warn` on is only reported."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    warn: Share
    fail: Share


class LeakageParams(BaseModel):
    """Limits of the leakage gate. docs/data_scientist.md says what the defaults rest on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    auc: Limit = Field(
        default=Limit(warn=0.9, fail=0.97), description="ROC AUC of one column, or of two to four combined"
    )
    purity: Limit = Field(
        default=Limit(warn=0.9, fail=0.95),
        description="share of a rare class among the rows with one value, lower bound of its 95 % interval",
    )
    r2: Limit = Field(
        default=Limit(warn=0.85, fail=0.98), description="variance of the label's ranks that one explains"
    )
    equal: Limit = Field(
        default=Limit(warn=0.5, fail=0.75),
        description="share of rows in which a sum or product of columns is the label",
    )
    later: Limit = Field(
        default=Limit(warn=0.001, fail=0.01), description="share of rows that know a later date or a later version"
    )
    entity_overlap: Limit = Field(
        default=Limit(warn=0.001, fail=0.05),
        description="share of judged rows whose entity was trained on with an outcome that overlaps theirs",
    )
    sample_rows: int = Field(default=200_000, ge=1_000, description="rows looked at, spread evenly over the window")
    allowed: dict[str, Reason] = Field(
        default_factory=dict, description="feature, or `source.column`, that may pass a limit → why"
    )
