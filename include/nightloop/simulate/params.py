"""What the simulator is asked for: how many faults, and which drift from when."""

from datetime import UTC, date, datetime, time
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field

DriftKind = Literal["covariate", "prior", "concept", "broken_feed"]
DriftShape = Literal["sudden", "gradual"]
DRIFT_KINDS: tuple[DriftKind, ...] = ("covariate", "prior", "concept", "broken_feed")


class Drift(BaseModel):
    """A change of the simulated world, from the decisions of one night on.

    covariate: other inputs, same relation · prior: other outcomes' shares · concept: same inputs, another relation ·
    broken_feed: a column goes missing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: DriftKind
    at: datetime = Field(description="first night, UTC, whose decisions drift")
    shape: DriftShape = "sudden"
    ramp_nights: int = Field(default=7, ge=1, description="gradual: nights until the drift is whole")
    magnitude: float = Field(default=1.0, ge=0, description="1 is the use case's usual strength")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `kind@date`, `kind@date:gradual` or `kind@date:sudden:1.5`.

        >>> Drift.parse("concept@2025-02-01").at.isoformat()
        '2025-02-01T00:00:00+00:00'
        """
        head, *rest = text.split(":")
        kind, _, day = head.partition("@")
        at = datetime.combine(date.fromisoformat(day), time(), UTC)
        options = dict(zip(("shape", "magnitude"), rest, strict=False))
        return cls.model_validate({"kind": kind, "at": at, **options})

    def strength(self, night: int) -> float:
        """Return how much of the drift there is on its n-th night, counted from 1; nothing before it."""
        if night < 1:
            return 0.0
        return self.magnitude * (1.0 if self.shape == "sudden" else min(1.0, night / self.ramp_nights))


class FaultParams(BaseModel):
    """Shares of a cohort's rows that go wrong; every count is exact: floor(share * rows)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    unparseable: float = Field(default=0.002, ge=0, le=0.1, description="a number that is none")
    out_of_range: float = Field(default=0.002, ge=0, le=0.1)
    missing_key: float = Field(default=0.001, ge=0, le=0.1)
    malformed: float = Field(default=0.001, ge=0, le=0.1, description="a line cut off in its first field")
    duplicate: float = Field(default=0.005, ge=0, le=0.1, description="the same line twice in a file")
    corrected: float = Field(default=0.01, ge=0, le=0.1, description="another version in the next night's file")
    tombstone: float = Field(default=0.005, ge=0, le=0.1, description="withdrawn in the next night's file")
    late: float = Field(default=0.02, ge=0, le=0.1, description="in a file of its own, after the night closed")
    late_every: int = Field(default=7, ge=1, description="every so many nights a part is late")

    @classmethod
    def none(cls) -> Self:
        """A world without faults."""
        shares = [name for name in cls.model_fields if name != "late_every"]
        return cls(**dict.fromkeys(shares, 0.0))
