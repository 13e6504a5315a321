"""Name one run of the loop: its key, the nights it replays, and what a job leaves behind.

Standard library only: the Airflow plugin imports this module, as jobs and domains do.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from nightloop.dataset import DatasetRef

MAIN_VARIANT = "main"

# 65, 70 and 75 as in sysexits.h; 99 as Airflow's BashOperator takes it for skipped
EXIT_OK = 0
EXIT_INPUT = 65
EXIT_INTERNAL = 70
EXIT_TRANSIENT = 75
EXIT_FENCED = 76
EXIT_SKIPPED = 99

# names sort as their instants and hold no sign that a path would escape; cron ticks on whole minutes
_PARTITION_FORMAT = "%Y%m%dT%H%MZ"


def parse_instant(text: str) -> datetime:
    """Return the UTC instant that ISO 8601 text names; a text without a zone means UTC.

    Raises:
        ValueError: the text is no ISO 8601 date or date and time.
    """
    instant = datetime.fromisoformat(text)
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


def format_night(as_of: datetime) -> str:
    """Return the name of a night as it stands in the `night` partition column.

    >>> format_night(datetime(2025, 1, 5, 2, tzinfo=UTC))
    '20250105T0200Z'
    """
    return as_of.astimezone(UTC).strftime(_PARTITION_FORMAT)


def parse_night(night: str) -> datetime:
    """Return the instant of a `night` partition value; the inverse of `format_night`."""
    return datetime.strptime(night, _PARTITION_FORMAT).replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class RunKey:
    """Key of everything a run writes: one source or use case, one logical instant, one variant."""

    scope: str
    as_of: datetime
    variant: str = MAIN_VARIANT

    def __post_init__(self) -> None:
        if self.as_of.tzinfo is None:
            raise ValueError(f"as_of of a run key must carry a time zone, found {self.as_of!r}")

    @property
    def night(self) -> str:
        return format_night(self.as_of)

    def __str__(self) -> str:
        return f"{self.scope}/{self.night}/{self.variant}"


@dataclass(frozen=True, slots=True)
class Replay:
    """The nights that one run computes, oldest first: one for a night, many for a bootstrap or a refill.

    `known_to` bounds what the run may know: a record that arrived after it does not exist for the run. For an ordinary
    night it is the night itself; for history loaded at once it is the instant of the load.
    """

    scope: str
    nights: tuple[datetime, ...]
    variant: str = MAIN_VARIANT
    known_to: datetime | None = None

    def __post_init__(self) -> None:
        if not self.nights:
            raise ValueError(f"a replay of {self.scope} needs at least one night")
        if list(self.nights) != sorted(set(self.nights)):
            raise ValueError(f"the nights of a replay must rise: {self.nights}")

    @property
    def first(self) -> datetime:
        return self.nights[0]

    @property
    def last(self) -> datetime:
        return self.nights[-1]

    @property
    def knowledge(self) -> datetime:
        return self.known_to or self.last

    @property
    def run_key(self) -> RunKey:
        """The key under which the replay is logged: that of its last night."""
        return RunKey(self.scope, self.last, self.variant)

    @property
    def run_keys(self) -> tuple[RunKey, ...]:
        return tuple(RunKey(self.scope, night, self.variant) for night in self.nights)


@dataclass(frozen=True)
class JobResult:
    """What one job leaves behind; it becomes the XCom of its Airflow task.

    `counts` are rows, `figures` metrics, `seconds` wall seconds per phase, `facts` short strings such as a verdict's
    answer, `links` names to URLs or paths of reports.
    """

    job: str
    run_key: RunKey
    outputs: tuple[DatasetRef, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return json.loads(json.dumps(asdict(self), default=_encode))  # type: ignore[no-any-return]

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        key = document["run_key"]
        run_key = RunKey(key["scope"], parse_instant(key["as_of"]), key["variant"])
        outputs = tuple(DatasetRef(**output) for output in document["outputs"])
        return cls(**{**document, "run_key": run_key, "outputs": outputs})

    def write(self, path: Path) -> None:
        """Write the result as JSON, whole or not at all."""
        partial = path.with_suffix(".partial")
        # NaN is no JSON: it fails here, at its job, and not at whoever reads the file
        partial.write_text(json.dumps(self.to_dict(), indent=1, allow_nan=False))
        partial.replace(path)

    @classmethod
    def read(cls, path: Path) -> Self:
        return cls.from_dict(json.loads(path.read_text()))


def _encode(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"a job result holds JSON values only, found {type(value).__name__}: {value!r}")
