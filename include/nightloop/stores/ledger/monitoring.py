"""What the nights looked like: counts, checks, profiles, metrics and the maturity of labels."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from itertools import groupby
from operator import itemgetter

from sqlalchemy import func, select

from nightloop.run import MAIN_VARIANT, RunKey
from nightloop.stores.database.engine import current_rows
from nightloop.stores.ledger.part import RUN_KEY, LedgerPart, key_of, nights_within
from nightloop.stores.ledger.rows import CheckRow, CountsRow, MaturityRow, MetricRow, ProfileRow, row_as
from nightloop.stores.ledger.schema import bins, checks, counts, maturity, metrics, profiles
from nightloop.verdict import Check


class MonitoringRecords(LedgerPart):
    """Figures per night; of one night, job and dataset those of the newest attempt are current."""

    def write_counts(self, run_key: RunKey, token: int, counted: Mapping[str, int]) -> None:
        base = {**key_of(run_key), "job": self._job_of(token), "token": token}
        self._append(counts, [{**base, "name": name, "count": count} for name, count in counted.items()])

    def counts(self, scope: str, first: datetime, last: datetime, variant: str = MAIN_VARIANT) -> list[CountsRow]:
        """Return the counts of every night and job, oldest night first."""
        # per job: another job of the night draws a higher token, and takes nothing of this one away
        query = current_rows(counts, (*RUN_KEY, "job"), nights_within(counts, scope, first, last, variant))
        rows = sorted(self._fetch(query), key=itemgetter("as_of", "job", "name"))
        nights = [list(found) for _, found in groupby(rows, itemgetter("as_of", "job"))]
        return [row_as(CountsRow, found[0], counts={row["name"]: row["count"] for row in found}) for found in nights]

    def write_checks(self, run_key: RunKey, token: int, dataset: str, outcomes: Sequence[Check]) -> None:
        base = {**key_of(run_key), "dataset": dataset, "token": token}
        rows = [{**base, "position": position, **asdict(check)} for position, check in enumerate(outcomes)]
        self._append(checks, rows)

    def checks(self, scope: str, first: datetime, last: datetime, variant: str = MAIN_VARIANT) -> list[CheckRow]:
        """Return the checks of every night and dataset, in the order they were made."""
        query = current_rows(checks, (*RUN_KEY, "dataset"), nights_within(checks, scope, first, last, variant))
        rows = sorted(self._fetch(query), key=itemgetter("as_of", "dataset", "position", "name"))
        return [row_as(CheckRow, row, check=row_as(Check, row)) for row in rows]

    def write_profiles(self, token: int, rows: Sequence[ProfileRow]) -> None:
        self._append(profiles, [{**asdict(row), "token": token} for row in rows])

    def profiles(
        self, scope: str, dataset: str, first: datetime, last: datetime, variant: str = MAIN_VARIANT
    ) -> list[ProfileRow]:
        """Return the profiles of every night and column, oldest night first."""
        within = nights_within(profiles, scope, first, last, variant)
        query = current_rows(profiles, (*RUN_KEY, "dataset"), within, profiles.c.dataset == dataset)
        rows = sorted(self._fetch(query), key=itemgetter("as_of", "column"))
        return [row_as(ProfileRow, row, edges=tuple(row["edges"])) for row in rows]

    def bins(self, scope: str, feature_version: str) -> dict[str, tuple[float, ...]] | None:
        """Return the pinned bin edges per numeric column; None before they were pinned."""
        query = select(bins.c.edges).where(bins.c.scope == scope, bins.c.feature_version == feature_version)
        found = self._fetch(query)
        return {column: tuple(edges) for column, edges in found[0]["edges"].items()} if found else None

    def pin_bins(self, scope: str, feature_version: str, edges: Mapping[str, Sequence[float]]) -> None:
        """Pin the bin edges of a feature version, once: edges that are pinned already stay."""
        pinned = {column: list(borders) for column, borders in edges.items()}
        self._append(bins, [{"scope": scope, "feature_version": feature_version, "edges": pinned}])

    def write_metrics(self, token: int, rows: Sequence[MetricRow]) -> None:
        job = self._job_of(token)
        # SQLite turns NaN into null by itself and PostgreSQL does not: both are given null
        finite = [{**asdict(row), "value": None if math.isnan(row.value) else row.value} for row in rows]
        self._append(metrics, [{**row, "job": job, "token": token} for row in finite])

    def metrics(self, scope: str, first: datetime, last: datetime, variant: str = MAIN_VARIANT) -> list[MetricRow]:
        """Return the metrics measured in the nights from first to last; a metric without a value is NaN."""
        query = current_rows(metrics, (*RUN_KEY, "job"), nights_within(metrics, scope, first, last, variant))
        order = itemgetter("as_of", "cohort_as_of", "model_version", "population", "metric")
        rows = sorted(self._fetch(query), key=order)
        return [row_as(MetricRow, row, value=math.nan if row["value"] is None else row["value"]) for row in rows]

    def write_maturity(self, token: int, rows: Sequence[MaturityRow]) -> None:
        job = self._job_of(token)
        self._append(maturity, [{**asdict(row), "job": job, "token": token} for row in rows])

    def maturity(self, scope: str, last: datetime, variant: str = MAIN_VARIANT) -> list[MaturityRow]:
        """Return how far each cohort had come by the night `last`, oldest cohort first."""
        known = (maturity.c.scope == scope, maturity.c.variant == variant, maturity.c.as_of <= last)
        current = current_rows(maturity, (*RUN_KEY, "job"), *known).subquery()
        newest = func.row_number().over(
            partition_by=current.c.cohort_as_of, order_by=(current.c.as_of.desc(), current.c.token.desc())
        )
        ranked = select(current, newest.label("recency")).subquery()
        query = select(ranked).where(ranked.c.recency == 1).order_by(ranked.c.cohort_as_of)
        return [row_as(MaturityRow, row) for row in self._fetch(query)]
