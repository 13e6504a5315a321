"""The two chapters of the demo, told through the real scheduler and read back from the ledger."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from nightloop.demo.findings import Findings
from nightloop.demo.nights import Scheduler
from nightloop.demo.progress import Progress, Step
from nightloop.demo.world import World
from nightloop.fault import Fault, NightloopError
from nightloop.folders.schedule import ticks

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
        # far enough for a schedule by months
        far = night + timedelta(days=62 * count)
        return ticks(self.scheduler.use_case.schedule, night + timedelta(seconds=1), far)[:count]

    def nights_of(self, history: tuple[datetime, datetime]) -> list[datetime]:
        return ticks(self.scheduler.use_case.schedule, *history)

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        with self.progress.step(f"{self.name}: {title}") as step:
            yield step

    def send(self, nights: list[datetime], changes_from: datetime) -> None:
        """Land all files at once: a night takes in only what is dated before its end."""
        with self.step(f"simulate {len(nights)} nights of a world that changes on {changes_from:%Y-%m-%d}"):
            self.world.send(nights, changes_from)

    def bootstrap(self, history: tuple[datetime, datetime]) -> None:
        """Take the history in, train the first champion, and have the sources begin the night that follows."""
        following = self.nights_after(history[1], 1)[0]
        with self.step(f"bootstrap: {len(self.nights_of(history))} nights in one replay, first training") as step:
            self.scheduler.bootstrap(*history, _noting(step))
            champion = self.findings.champion(following)
            if champion is None:
                raise NightloopError(
                    Fault(self.name, "a champion after the bootstrap", "none", "read the gate's verdict")
                )
            step.note = f"champion is version {champion.version}, {champion.recipe['family']}"
        self.scheduler.take_in(following)

    def run_night(self, night: datetime, title: str, *, is_last: bool = False) -> str:
        """Run one night and return the decision's answer; meanwhile the sources take in the next one, as they may."""
        with self.step(f"night {night:%Y-%m-%d}, {title}") as step:
            if not is_last:
                self.scheduler.take_in(self.nights_after(night, 1)[0])
            self.scheduler.run_night(night, _noting(step))
            verdict = self.findings.verdict(night)
            step.note = f"{verdict.answer}: {verdict.reason}"
        return verdict.answer


def tell_taxi(chapter: Chapter) -> dict[str, Any]:
    """A concept drift is noticed, a retraining starts by itself, and the next night's error falls."""
    first, last = TAXI_HISTORY
    following = chapter.nights_after(last, 4 + _MOST_NIGHTS_TO_VERDICT)
    quiet, changed = following[:2], following[2:]
    # concept drift shows in outcomes alone, which come a night later: this night still looks quiet
    drift_from = quiet[-1]
    chapter.send([*chapter.nights_of(TAXI_HISTORY), *following], drift_from)
    chapter.bootstrap(TAXI_HISTORY)
    answers = [chapter.run_night(night, "quiet") for night in quiet]
    nights = iter(changed)
    verdict_night = _run_until_retrain(chapter, nights)
    with chapter.step("retraining, woken by the verdict") as step:
        retraining = chapter.scheduler.wait_for_retraining(_noting(step))
        step.note = f"{retraining['run_type']} run {retraining['dag_run_id']}"
    recovered, measured = next(nights), next(nights)
    chapter.run_night(recovered, "scored by the new champion")
    chapter.run_night(measured, "its labels mature", is_last=True)
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
    quiet, changed = chapter.nights_after(last, 2)
    chapter.send([*chapter.nights_of(LOAN_HISTORY), quiet, changed], changed)
    chapter.bootstrap(LOAN_HISTORY)
    quiet_answer = chapter.run_night(quiet, "quiet")
    answer = chapter.run_night(changed, "a new kind of loan appears", is_last=True)
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


def _run_until_retrain(chapter: Chapter, nights: Iterator[datetime]) -> datetime:
    for night in islice(nights, _MOST_NIGHTS_TO_VERDICT):
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
        "nights": len(chapter.nights_of((first, last))),
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
