"""A feed of nights as histograms, drawn without Spark, and the inputs of a decision on it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import numpy as np

from nightloop.drift.decision import decide
from nightloop.drift.inputs import Champion, DecisionInputs
from nightloop.drift.params import DriftParams
from nightloop.drift.performance import Yardstick
from nightloop.drift.profile import ColumnProfile, place_edges
from nightloop.run import MAIN_VARIANT
from nightloop.stores.ledger.rows import MaturityRow, MetricRow, VerdictRow
from nightloop.verdict import Verdict

FIRST = datetime(2025, 1, 1, 2, tzinfo=UTC)
Values = dict[str, np.ndarray]
Draw = Callable[[np.random.Generator, int, int], Values]


def night(position: int) -> datetime:
    return FIRST + timedelta(days=position)


def draw_quiet(rng: np.random.Generator, position: int, rows: int) -> Values:
    """Two numeric and two categorical columns, weekends and daily weather among them: none of them drifts."""
    is_weekend = position % 7 >= 5
    weights = [0.4, 0.3, 0.2, 0.1] if is_weekend else [0.5, 0.3, 0.15, 0.05]
    distance = rng.lognormal(1.0, 0.6, rows)
    return {
        "distance": np.where(rng.random(rows) < 0.03, np.nan, distance),
        "temperature": rng.normal(rng.normal(10, 4), 2, rows),
        "is_weekend": np.full(rows, float(is_weekend)),
        "zone": rng.choice(["a", "b", "c", "d"], rows, p=weights),
        "payment": rng.choice(["card", "cash"], rows, p=[0.7, 0.3]),
    }


@dataclass
class Feed:
    """Nights of rows, a champion with an error per cohort, and the verdicts so far."""

    draw: Draw = draw_quiet
    rows: Callable[[int], int] = lambda position: 1200 if position % 7 >= 5 else 2000
    error: Callable[[int], float] = lambda position: 5.0  # noqa: ARG005
    horizon_nights: int = 1
    params: DriftParams = field(default_factory=DriftParams)
    champion_cut: int | None = 0
    seed: int = 1
    is_there: Callable[[int], bool] = lambda position: True  # noqa: ARG005

    def profiles(self, nights: int) -> list[ColumnProfile]:
        edges: dict[str, tuple[float, ...]] = {}
        found: list[ColumnProfile] = []
        for position in (p for p in range(nights) if self.is_there(p)):
            rows = self.rows(position)
            values = self.draw(np.random.default_rng([self.seed, position]), position, rows)
            for column, drawn in values.items():
                if drawn.dtype.kind == "f" and column not in edges:
                    edges[column] = place_edges(deciles(drawn))
                found.append(profile(position, column, drawn, edges.get(column, ()), self.params.min_rows))
        return found

    def inputs(self, nights: int) -> DecisionInputs:
        cohorts = [p for p in range(nights) if self.is_there(p)]
        rng = np.random.default_rng(self.seed)
        errors = {p: self.error(p) * (1 + 0.03 * rng.normal()) for p in range(nights)}
        return DecisionInputs.gather(
            "feed",
            self.profiles(nights),
            self.params,
            matures_at=lambda cohort: cohort + timedelta(days=self.horizon_nights),
            metrics=[metric_row(p, p + self.horizon_nights, errors[p], self.rows(p)) for p in cohorts],
            maturity=[
                MaturityRow(
                    "feed", night(p + self.horizon_nights), "main", night(p), night(p + self.horizon_nights), n, n
                )
                for p in cohorts
                for n in (self.rows(p),)
            ],
        )

    def decide_all(self, nights: int) -> list[Verdict | None]:
        """Decide every night in order; a request is answered before the next night, and the champion stays."""
        inputs, past, found = self.inputs(nights), list[VerdictRow](), list[Verdict | None]()
        for position in range(nights):
            if not self.is_there(position):
                found.append(None)
                continue
            verdict = decide(replace(inputs, as_of=night(position), past=past, champion=self.champion()), self.params)
            past.append(VerdictRow("feed", night(position), "drift", 1, verdict, MAIN_VARIANT))
            found.append(verdict)
        return found

    def champion(self) -> Champion | None:
        if self.champion_cut is None:
            return None
        cut = night(self.champion_cut)
        return Champion(1, cut, cut, Yardstick("mae", 5.0))


def deciles(values: np.ndarray) -> list[float]:
    present = values[~np.isnan(values)]
    return list(np.quantile(present, np.linspace(0, 1, 11))) if len(present) else []


def profile(position: int, column: str, values: np.ndarray, edges: tuple[float, ...], min_rows: int) -> ColumnProfile:
    rows = len(values)
    if values.dtype.kind == "f":
        present = values[~np.isnan(values)]
        numbers = sum((present >= edge).astype(int) for edge in (edges[:-1] or edges)) + (present > edges[-1])
        kind, keys = "numeric", [str(number) for number in numbers]
    else:
        kind, keys = "categorical", [value for value in values if value is not None]
    missing = rows - len(keys)
    names, counts = np.unique(np.array(keys, dtype=object).astype(str), return_counts=True)
    counted = {str(name): int(count) for name, count in zip(names, counts, strict=True)}
    if rows < min_rows:
        edges, counted = (), {}
    return ColumnProfile(night(position), column, kind, rows, missing, edges, counted)  # type: ignore[arg-type]


def metric_row(cohort: int, measured: int, value: float, rows: int) -> MetricRow:
    return MetricRow("feed", night(measured), "main", night(cohort), 1, "all", "mae", value, rows)


def answers(verdicts: Sequence[Verdict | None]) -> dict[int, str]:
    """Return the answers that are not `nothing`, by night."""
    return {p: v.answer for p, v in enumerate(verdicts) if v is not None and v.answer != "nothing"}
