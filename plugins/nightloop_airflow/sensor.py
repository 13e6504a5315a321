"""Hold a night back until its files, its sources or the nights before it are where it needs them."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator, Context
from airflow.sdk.exceptions import AirflowFailException, AirflowSensorTimeout

from nightloop.fault import NightloopError
from nightloop.folders.schedule import last_tick_at_or_before, previous_tick
from nightloop.folders.source import Source
from nightloop.run import MAIN_VARIANT
from nightloop_airflow.run_key import Run, run_of_context
from nightloop_airflow.trigger import FilesArrivedTrigger, NightsClosedTrigger, count_files, find_open_nights

if TYPE_CHECKING:
    from airflow.sdk.types import DagRunProtocol

_MARGIN = timedelta(minutes=1)  # the trigger knows what is missing: it speaks before Airflow's timeout


class SourcesClosedSensor(BaseSensorOperator):
    """Succeed once every source has closed its last night at or before this run's; else wait, deferred.

    `timeout` is the deadline. A source that had not started by then has nothing to wait for.
    """

    ui_color = "#f3efe2"

    def __init__(self, *, schedule: str, sources: Mapping[str, Source], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.schedule = schedule
        self.sources = sources

    def execute(self, context: Context) -> None:
        as_of = _resolve(context, self.schedule).as_of
        open_nights = find_open_nights(nights_of(self.sources, as_of))
        if not open_nights:
            self.log.info("every source has closed the night of %s", as_of.isoformat())
            return
        deadline = datetime.now(UTC) + timedelta(seconds=self.timeout)
        self.log.info("waiting until %s for %s", deadline.isoformat(timespec="seconds"), _describe(open_nights))
        self.defer(
            trigger=NightsClosedTrigger(open_nights, deadline.isoformat()),
            method_name="complete",
            timeout=timedelta(seconds=self.timeout) + _MARGIN,
        )

    def complete(self, context: Context, event: dict[str, str] | None = None) -> None:  # noqa: ARG002 - Airflow's name
        if event:
            raise AirflowSensorTimeout(
                f"the deadline passed and these nights are still open: {_describe(event)}; "
                "look at the runs of those source DAGs and clear this task once they have succeeded"
            )
        self.log.info("every source has closed its night")


class EarlierNightsSensor(BaseSensorOperator):
    """Succeed once the nights before are done with: a decision reads what they have measured.

    The schedule runs one night at a time, so this waits only in a backfill of several nights at once, while an earlier
    night is running. It fails if the backfill's own night before did not succeed; to wait for it would hold the place
    that it needs to run again. Of the schedule's nights, one that failed holds nobody back: a missing night is no
    evidence.
    """

    ui_color = "#f3efe2"

    def __init__(self, *, schedule: str, **kwargs: Any) -> None:
        super().__init__(mode="reschedule", **kwargs)
        self.schedule = schedule

    def poke(self, context: Context) -> bool:
        earlier = context["ti"].get_previous_dagrun(state="running")
        if earlier is not None:
            self.log.info("waiting for %s, an earlier night that is running", earlier.run_id)
            return False
        before = context["ti"].get_previous_dagrun()
        if before is None or before.state == "success" or not self._are_neighbours(before, context["dag_run"]):
            return True
        raise AirflowFailException(
            f"the night before in this backfill ({before.run_id}) is {before.state}, and this one's decision reads "
            "what it has measured; clear both, or mark that one as success to decide without it"
        )

    def _are_neighbours(self, before: "DagRunProtocol", run: "DagRunProtocol") -> bool:
        """Say whether both belong to a backfill, one the night before the other."""
        if not run.run_type == before.run_type == "backfill" or run.logical_date is None:
            return False
        return before.logical_date == previous_tick(self.schedule, run.logical_date)


class FilesArrivedSensor(BaseSensorOperator):
    """Succeed once a source's night has its files, whole; else wait, deferred. `timeout` is the deadline.

    A night that has closed, a range of nights and a variant beside the night wait for nothing.
    """

    ui_color = "#f3efe2"

    def __init__(self, *, source: str, schedule: str, files: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.source = source
        self.schedule = schedule
        self.files = files

    def execute(self, context: Context) -> None:
        run = _resolve(context, self.schedule)
        night = run.as_of.isoformat()
        if run.first != run.as_of or run.variant != MAIN_VARIANT or not find_open_nights({self.source: night}):
            self.log.info("nothing is awaited for the night of %s", night)
            return
        found = self._count(night)
        if found >= self.files:
            self.log.info("%d files are there for the night of %s", found, night)
            return
        deadline = datetime.now(UTC) + timedelta(seconds=self.timeout)
        self.log.info("%d of %d files; waiting until %s", found, self.files, deadline.isoformat(timespec="seconds"))
        self.defer(
            trigger=FilesArrivedTrigger(self.source, night, self.files, deadline.isoformat()),
            method_name="complete",
            timeout=timedelta(seconds=self.timeout) + _MARGIN,
        )

    def complete(self, context: Context, event: int | None = None) -> None:  # noqa: ARG002 - Airflow's name
        found = event or 0
        if found < self.files:
            raise AirflowSensorTimeout(
                f"the deadline passed with {found} of {self.files} files of source {self.source}; ask its sender, and "
                "clear this task once they lie there, or mark it as success to close the night without them"
            )
        self.log.info("%d files have arrived", found)

    def _count(self, night: str) -> int:
        try:
            return count_files(self.source, night)
        except NightloopError as error:
            raise AirflowFailException(str(error)) from None


def _resolve(context: Context, schedule: str) -> Run:
    # a run that names no night names none at the next try either
    try:
        return run_of_context(context, schedule)
    except NightloopError as error:
        raise AirflowFailException(str(error)) from None


def nights_of(sources: Mapping[str, Source], as_of: datetime) -> dict[str, str]:
    """Return the last night at or before `as_of` of each source that had started, as ISO 8601."""
    nights = {name: last_tick_at_or_before(source.schedule, as_of) for name, source in sources.items()}
    return {name: night.isoformat() for name, night in nights.items() if night.date() >= sources[name].start}


def _describe(nights: Mapping[str, str]) -> str:
    return ", ".join(f"source_{source} ({night})" for source, night in nights.items())
