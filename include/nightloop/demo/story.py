"""The two chapters of the demo, told through the real scheduler and read back from the ledger."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from nightloop.demo.findings import Findings
from nightloop.demo.nights import Scheduler
from nightloop.demo.progress import Progress, Step
from nightloop.demo.world import World
from nightloop.fault import Fault, NightloopError
from nightloop.schedule import ticks

TAXI_HISTORY = (datetime(2025, 3, 2, 2, tzinfo=UTC), datetime(2025, 3, 22, 2, tzinfo=UTC))
LOAN_HISTORY = (datetime(2022, 1, 1, 2, tzinfo=UTC), datetime(2024, 6, 1, 2, tzinfo=UTC))
_MOST_NIGHTS_TO_VERDICT = 5


@dataclass(frozen=True)
class Chapter:
    """One use case's part: the scheduler to act on, the world that sends files, and what is found afterwards."""

    scheduler: Scheduler
    world: World
    findings: Findings
    progress: Progress

    @property
    def name(self) -> str:
        return self.scheduler.use_case.name

    def nights_after(self, night: datetime, count: int) -> list[datetime]:
        far = night + timedelta(days=62 * count)
        return ticks(self.scheduler.use_case.schedule, night + timedelta(seconds=1), far)[:count]

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        with self.progress.step(f"{self.name}: {title}") as step:
            yield step

    def bootstrap(self, history: tuple[datetime, datetime]) -> None:
        nights = ticks(self.scheduler.use_case.schedule, *history)
        with self.step(f"simulate {len(nights)} nights of history") as step:
            self.world.send(nights)
        with self.step("bootstrap: history in one replay, first training") as step:
            self.scheduler.bootstrap(*history, _noting(step))
            champion = self.findings.champion(self.nights_after(history[1], 1)[0])
            if champion is None:
                raise NightloopError(
                    Fault(self.name, "a champion after the bootstrap", "none", "read the gate's verdict")
                )
            step.note = f"champion is version {champion.version}, {champion.recipe['family']}"

    def run_night(self, night: datetime, title: str) -> str:
        """Run one night and return the decision's answer."""
        with self.step(f"night {night:%Y-%m-%d}, {title}") as step:
            self.scheduler.run_night(night, _noting(step))
            verdict = self.findings.verdict(night)
            step.note = f"{verdict.answer}: {verdict.reason}"[:150]
        return verdict.answer


def tell_taxi(chapter: Chapter) -> dict[str, Any]:
    """A concept drift is noticed, a retraining starts by itself, and the next night's error falls."""
    first, last = TAXI_HISTORY
    chapter.bootstrap(TAXI_HISTORY)
    nights = iter(chapter.nights_after(last, 4 + _MOST_NIGHTS_TO_VERDICT))
    quiet = [next(nights), next(nights)]
    drift_from = quiet[1]
    chapter.world.send(quiet)
    answers = [chapter.run_night(night, "quiet") for night in quiet]
    verdict_night = _run_until_retrain(chapter, nights, drift_from)
    with chapter.step("retraining, woken by the verdict") as step:
        retraining = chapter.scheduler.wait_for_retraining(_noting(step))
        step.note = f"{retraining['run_type']} run {retraining['dag_run_id']}"
    recovered, measured = next(nights), next(nights)
    chapter.world.send([recovered, measured], drift_from)
    chapter.run_night(recovered, "scored by the new champion")
    chapter.run_night(measured, "its labels mature")
    before, after = chapter.findings.champion(verdict_night), chapter.findings.champion(recovered)
    return {
        **_summary(chapter, first, measured, [before, after], recovered),
        "quiet_answers": answers,
        "drift": _iso(drift_from),
        "verdict": _iso(verdict_night),
        "verdict_reason": chapter.findings.verdict(verdict_night).reason,
        "verdict_columns": list(chapter.findings.verdict(verdict_night).columns),
        "recovery": _iso(recovered),
        "error_by_night": chapter.findings.performance(last, measured),
        "retraining_run_id": retraining["dag_run_id"],
        "retraining_run_type": retraining["run_type"],
    }


def tell_loan(chapter: Chapter) -> dict[str, Any]:
    """A new kind of loan appears, and the answer is until when to wait, not a useless retraining."""
    first, last = LOAN_HISTORY
    chapter.bootstrap(LOAN_HISTORY)
    quiet, changed = chapter.nights_after(last, 2)
    chapter.world.send([quiet])
    quiet_answer = chapter.run_night(quiet, "quiet")
    chapter.world.send([changed], changed)
    answer = chapter.run_night(changed, "a new kind of loan appears")
    verdict = chapter.findings.verdict(changed)
    champion = chapter.findings.champion(changed)
    return {
        **_summary(chapter, first, changed, [champion, champion], None),
        "quiet_answers": [quiet_answer],
        "drift": _iso(changed),
        "verdict": _iso(changed),
        "verdict_answer": answer,
        "verdict_reason": verdict.reason,
        "verdict_columns": list(verdict.columns),
        "wait_until": verdict.facts.get("until"),
    }


def _run_until_retrain(chapter: Chapter, nights: Iterator[datetime], drift_from: datetime) -> datetime:
    for _ in range(_MOST_NIGHTS_TO_VERDICT):
        night = next(nights)
        chapter.world.send([night], drift_from)
        if chapter.run_night(night, "the world has changed") == "retrain":
            return night
    raise NightloopError(
        Fault(chapter.name, f"the answer `retrain` within {_MOST_NIGHTS_TO_VERDICT} nights of the drift", "none")
    )


def _summary(
    chapter: Chapter, first: datetime, last: datetime, champions: list[Any], compared_on: datetime | None
) -> dict[str, Any]:
    before, after = champions
    figures = chapter.findings.compare(compared_on, [before, after]) if compared_on else {}
    return {
        "nights": len(ticks(chapter.scheduler.use_case.schedule, first, last)),
        **chapter.findings.counts(first, last),
        "metric": chapter.scheduler.use_case.promotion.metric,
        "champion_before": {"version": before.version, "metric": figures.get(before.version)},
        "champion_after": {"version": after.version, "metric": figures.get(after.version)},
        "compared_on": compared_on and _iso(compared_on),
    }


def _noting(step: Step) -> Any:
    def note(text: str) -> None:
        step.note = text

    return note


def _iso(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%dT%H:%MZ")
