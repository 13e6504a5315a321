"""The figures of one night that the decision weighs, each computed when first asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from nightloop.drift.feed import FeedFault
from nightloop.drift.history import ColumnHistory, compare_histograms
from nightloop.drift.inputs import DecisionInputs
from nightloop.drift.params import DriftParams
from nightloop.drift.past import PastVerdict, find_resting, find_unreported, list_acknowledged
from nightloop.drift.performance import PerformanceFall, measure_fall, select_measured
from nightloop.drift.population import (
    SCORE_COLUMN,
    ColumnShift,
    Segments,
    least_limit,
    measure_shift,
    select_nights,
)


@dataclass(frozen=True)
class NightReading:
    """One night's evidence, as of the night."""

    inputs: DecisionInputs
    params: DriftParams

    @cached_property
    def nights(self) -> tuple[datetime, ...]:
        return self.inputs.history.nights_until(self.inputs.as_of)

    @cached_property
    def past(self) -> list[PastVerdict]:
        return sorted((v for v in self.inputs.past if v.as_of < self.inputs.as_of), key=lambda verdict: verdict.as_of)

    @cached_property
    def faults(self) -> tuple[FeedFault, ...]:
        return self.inputs.faults.get(self.inputs.as_of, ())

    @cached_property
    def unreported(self) -> tuple[FeedFault, ...]:
        return find_unreported(self.faults, self.inputs.faults, self.past, self.nights)

    @cached_property
    def segments(self) -> dict[str, Segments]:
        return {column.column: self._cut(column) for column in self.inputs.history.columns_of(self.inputs.as_of)}

    @cached_property
    def shifts(self) -> dict[str, ColumnShift]:
        """Every column that can be judged tonight."""
        is_first = not list_acknowledged(self.past)
        measured = (
            # scores begin anew with each champion, acknowledged by no verdict: their baseline must be whole every time
            measure_shift(segments, self.inputs.as_of, self.params, is_first=is_first or name == SCORE_COLUMN)
            for name, segments in self.segments.items()
        )
        return {shift.column: shift for shift in measured if shift is not None}

    @cached_property
    def alarms(self) -> list[ColumnShift]:
        """The columns that changed and are free to say so, the furthest beyond its limit first."""
        silent = find_resting(self.past, self.nights, self.params.cooldown_nights) | set(self.params.ignored)
        alarms = [shift for name, shift in self.shifts.items() if shift.is_alarm and name not in silent]
        return sorted(alarms, key=lambda shift: shift.limit / shift.effect)

    @cached_property
    def fall(self) -> PerformanceFall | None:
        champion = self.inputs.champion
        if champion is None:
            return None
        as_of, yardstick = self.inputs.as_of, champion.yardstick
        measured = select_measured(self.inputs.metrics, as_of, champion.version, yardstick, self.params)
        requests = [verdict.as_of for verdict in self.past if verdict.answer == "retrain"]
        return measure_fall(measured, max(requests, default=None), yardstick, self.params)

    @property
    def is_fall_resting(self) -> bool:
        """Tell whether the same champion's fall was answered within the cooldown."""
        recent = self.nights[-self.params.cooldown_nights :] if self.params.cooldown_nights else ()
        champion = self.inputs.champion
        return champion is not None and any(
            verdict.as_of in recent and verdict.facts.get("fallen_champion") == str(champion.version)
            for verdict in self.past
        )

    def count_lookalikes(self, columns: Sequence[str], baseline: Sequence[datetime]) -> int:
        """Count the rows whose labels have matured since the champion's cut and which resemble tonight's in columns.

        A cohort resembles tonight where it is within the limit of it, or nearer to it than to the old baseline.
        """
        as_of, cut = self.inputs.as_of, self.inputs.champion.cut if self.inputs.champion else None
        matured = (row for row in self.inputs.maturity if row.matures_at <= as_of)
        fresh = (row for row in matured if cut is None or row.matures_at > cut)
        return sum(row.observed for row in fresh if self._is_lookalike(row.cohort_as_of, columns, baseline))

    def next_maturity(self, changed: Sequence[datetime]) -> datetime:
        """Return the first night after this one in which a changed cohort matures."""
        ahead = (self.inputs.matures_at(cohort) for cohort in changed)
        later = [night for night in ahead if night > self.inputs.as_of]
        return min(later, default=self.inputs.matures_at(self.inputs.as_of))

    def distances_to_training(self) -> dict[str, float]:
        """Return per column tonight's effect against the nights whose labels the champion may have seen."""
        champion = self.inputs.champion
        if champion is None:
            return {}
        found: dict[str, float] = {}
        for name, segments in self.segments.items():
            column, tonight = segments.column, segments.find(self.inputs.as_of)
            trained = [n for n in segments.nights if self.inputs.matures_at(column.nights[n]) <= champion.cut]
            if tonight is not None and trained and name != SCORE_COLUMN:
                found[name] = compare_histograms(column.counts[tonight], column.pool(trained), column.kind)
        return found

    def _cut(self, column: ColumnHistory) -> Segments:
        starts = list_acknowledged(self.past)
        if column.column == SCORE_COLUMN and self.inputs.champion is not None:
            # another model scores otherwise: its nights are a population of their own
            own = [night for night in column.nights if night > self.inputs.champion.since]
            starts = [*starts, *own[:1]]
        broken = {
            night
            for night, faults in self.inputs.faults.items()
            if any(fault.column == column.column or fault.kind == "volume" for fault in faults)
        }
        return select_nights(column, self.inputs.as_of, broken, starts, self.params)

    def _is_lookalike(self, cohort: datetime, columns: Sequence[str], baseline: Sequence[datetime]) -> bool:
        found = [self.segments[name] for name in columns if name in self.segments]
        return len(found) == len(columns) > 0 and all(self._is_column_alike(each, cohort, baseline) for each in found)

    def _is_column_alike(self, segments: Segments, cohort: datetime, baseline: Sequence[datetime]) -> bool:
        column, tonight, night = segments.column, segments.find(self.inputs.as_of), segments.find(cohort)
        if tonight is None or night is None:
            return False
        shift = self.shifts.get(column.column)
        distance = column.measure(tonight, (night,))
        old = [n for n in map(segments.find, baseline) if n is not None]
        is_nearer = bool(old) and distance < column.measure(night, old)
        return is_nearer or distance < (shift.limit if shift else least_limit(column, self.params))
