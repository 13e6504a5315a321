"""What the ledger holds, one frozen row type per subject."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Literal, TypeVar

from sqlalchemy import RowMapping

from nightloop.run import MAIN_VARIANT
from nightloop.verdict import Check, Verdict

RowType = TypeVar("RowType")


@dataclass(frozen=True, slots=True)
class FileRow:
    """One file of a source, once per checksum; `as_of` is the night that takes it, `rows` null until it was read."""

    path: str
    checksum: str
    size: int
    arrived_at: datetime
    known_at: datetime | None
    as_of: datetime
    rows: int | None = None


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One attempt of a job: who asked for it (Airflow's run, task and try), and the code that ran; None: not known."""

    token: int
    job: str
    attempt: str
    code: str | None
    recorded_wall: datetime


@dataclass(frozen=True, slots=True)
class CommitRow:
    """One night of one table as an attempt wrote it, and the Delta version that holds it."""

    scope: str
    as_of: datetime
    variant: str
    dataset: str
    token: int
    version: int


@dataclass(frozen=True, slots=True)
class ReadmissionRow:
    """Quarantined rows of one file that the night `as_of` takes up again; `rows` are (first, last) of each run of them.

    `received_as_of` is the night whose raw partition holds them.
    """

    scope: str
    as_of: datetime
    checksum: str
    received_as_of: datetime
    rows: tuple[tuple[int, int], ...]
    actor: str
    why: str

    @property
    def count(self) -> int:
        return sum(last - first + 1 for first, last in self.rows)


@dataclass(frozen=True, slots=True)
class CountsRow:
    """Row counts that one job left for one night."""

    scope: str
    as_of: datetime
    variant: str
    job: str
    token: int
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class CheckRow:
    """One check of one night's dataset."""

    scope: str
    as_of: datetime
    variant: str
    dataset: str
    check: Check


@dataclass(frozen=True, slots=True)
class BuildRow:
    """One night of a dataset: the version of the definition that built it, and its rows."""

    as_of: datetime
    version: str
    rows: int


@dataclass(frozen=True, slots=True)
class ProfileRow:
    """Distribution of one column in one night.

    Numeric columns: `edges` are the bins' borders and `counts` rows per bin; categorical: `counts` rows per value.
    `missing` rows are in `rows` and in no count.
    """

    scope: str
    as_of: datetime
    variant: str
    dataset: str
    column: str
    kind: Literal["numeric", "categorical"]
    rows: int
    missing: int
    edges: tuple[float, ...]
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One metric of one model version on one matured cohort and population, measured in the night `as_of`."""

    scope: str
    as_of: datetime
    variant: str
    cohort_as_of: datetime
    model_version: int
    population: str
    metric: str
    value: float
    rows: int
    positives: int | None = None


@dataclass(frozen=True, slots=True)
class MaturityRow:
    """How far one cohort's labels have come, as seen in the night `as_of`."""

    scope: str
    as_of: datetime
    variant: str
    cohort_as_of: datetime
    matures_at: datetime
    rows: int
    observed: int


@dataclass(frozen=True, slots=True)
class VerdictRow:
    """A verdict and the night it was given in; a drift verdict that answers `retrain` is a request."""

    scope: str
    as_of: datetime
    kind: str
    token: int
    verdict: Verdict
    variant: str = MAIN_VARIANT

    @property
    def answer(self) -> str:
        return self.verdict.answer

    @property
    def reason(self) -> str:
        return self.verdict.reason

    @property
    def columns(self) -> tuple[str, ...]:
        return self.verdict.columns

    @property
    def facts(self) -> Mapping[str, str]:
        return self.verdict.facts


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """How one retraining request was closed."""

    scope: str
    as_of: datetime
    answered_by: str
    outcome: str


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One registered model. `version` counts up per scope and is given by the ledger, whatever the row says.

    `as_of` is the night that fitted it; `pins` fix its training set, `metrics` are those of its judging.
    """

    scope: str
    version: int
    digest: str
    uri: str
    recipe: Mapping[str, Any]
    feature_version: str
    as_of: datetime
    pins: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ChampionRow:
    """One change of champion: `version` holds for runs with as_of > `decided_as_of`; None before means the first."""

    scope: str
    version: int
    from_version: int | None
    decided_as_of: datetime
    decided_by: str
    why: str


@dataclass(frozen=True, slots=True)
class AuditRow:
    """Who or what did what, when, why, from what to what."""

    scope: str
    action: str
    actor: str
    why: str
    from_: str
    to: str
    as_of: datetime
    recorded_wall: datetime


def row_as(row_type: type[RowType], row: RowMapping, **given: Any) -> RowType:
    """Build a row type from the columns of the same names; `given` fields come first."""
    names = [entry.name for entry in fields(row_type)]  # type: ignore[arg-type]
    return row_type(**{name: given[name] if name in given else row[name] for name in names})
