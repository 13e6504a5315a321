"""The typed form of `use_cases/<name>/`: one prediction problem, data only."""

from datetime import date

from pydantic import BaseModel, ConfigDict, Field

from nightloop.asof.params import LabelParams
from nightloop.drift.params import DriftParams
from nightloop.evaluation.params import PromotionParams
from nightloop.folders.source import DECLARED_SLACK_DAYS, Source
from nightloop.leakage.params import LeakageParams
from nightloop.quality.params import Suite
from nightloop.scoring.params import ScoringParams
from nightloop.training.params import Task, TrainingParams


class SourceJoin(BaseModel):
    """How one source meets the spine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    join: dict[str, str] = Field(min_length=1, description="source column → spine column")


class Features(BaseModel):
    """The columns of features.sql that a model sees."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    numeric: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.numeric, *self.categorical)


class UseCase(BaseModel):
    """One prediction problem: `use_case.yaml`, `spine.sql`, `features.sql`, `label.sql` and `suite.yaml`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")
    owner: str
    description: str
    task: Task
    schedule: str = Field(description="cron in UTC; each tick is the as_of of one night")
    start: date = Field(description="first day on which the schedule ticks")
    deadline_hours: float = Field(default=6.0, gt=0, description="how long a night waits for its sources")
    entity: tuple[str, ...] = Field(min_length=1, description="spine columns that name one entity")
    sources: dict[str, SourceJoin] = Field(min_length=1)
    features: Features
    protected: tuple[str, ...] = Field(default=(), description="spine columns for fairness; no model sees them")
    label: LabelParams
    training: TrainingParams
    leakage: LeakageParams = LeakageParams()
    promotion: PromotionParams
    scoring: ScoringParams = ScoringParams()
    drift: DriftParams = DriftParams()
    retention_days: int | None = Field(
        default=None, ge=1, description="how long the lake keeps features, labels and scores"
    )
    alerts: tuple[str, ...] = Field(default=(), description="e-mail addresses told of failed nights")
    spine_sql: str = Field(exclude=True)
    features_sql: str = Field(exclude=True)
    label_sql: str = Field(exclude=True)
    suite: Suite = Field(exclude=True)

    @property
    def training_reach_days(self) -> int:
        """How far before a night its retraining reads features and labels: windows, horizon and settlement."""
        training, label = self.training, self.label
        return training.window_days + training.judged_days + label.horizon.most_days + label.settlement_days

    def record_reach_days(self, source: Source) -> int | None:
        """How far before a night its retraining reads a source's records; None: all of them."""
        if source.lookback_days == "unbounded":
            return None
        return self.training_reach_days + source.lookback_days + DECLARED_SLACK_DAYS
