"""Labelled rows of the lake: what a recipe may train on as of a cut, and what it is judged on after."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow.dataset import field

from nightloop.dataset import DatasetRef
from nightloop.fault import Fault, NightloopError
from nightloop.folders.schedule import ticks
from nightloop.folders.use_case import UseCase
from nightloop.loop.night.feature_builds import refused_nights
from nightloop.run import Replay, parse_night
from nightloop.stores.lake.files import LakeFiles, LakeRows
from nightloop.training.dataset import ContentHash, join_labels, lay_out, matured_labels, select_window
from nightloop.training.plan import PlannedCandidate, judging_opens

if TYPE_CHECKING:
    from nightloop.stores.ledger.ledger import Ledger

_GROUP_ROWS = 25_000
_LABEL_COLUMNS = ("row_id", "decision_time", "cohort", "label", "is_observed", "night")


def read_labels(use_case: UseCase, lake: LakeFiles, after: datetime | None, until: datetime) -> pa.Table:
    """Return the observed labels that matured in (after, until].

    Raises:
        NightloopError: none did.
    """
    parts = list(_stream_labels(_open_labels(use_case, lake, after, until), after, until))
    return pa.concat_tables(parts).combine_chunks() if parts else _lack_labels(use_case, after, until)


def features_ref(use_case: UseCase, planned: PlannedCandidate) -> DatasetRef:
    """Return the table of the feature version that a candidate sees."""
    return DatasetRef("features", use_case.name, planned.feature_version)


def leave_out_refused(
    use_case: UseCase, lake: LakeFiles, ledger: "Ledger", planned: Sequence[PlannedCandidate], labels: pa.Table
) -> tuple[pa.Table, list[str]]:
    """Return the labels of the cohorts whose features all candidates have, and the nights that cannot be refilled.

    Raises:
        NightloopError: no cohort is left.
    """
    refused = _list_refused(use_case, lake, ledger, planned, labels.column("cohort").unique().to_pylist())
    return labels.filter(pc.invert(pc.is_in(labels.column("cohort"), pa.array(refused, pa.string())))), refused


def read_judged(
    use_case: UseCase,
    lake: LakeFiles,
    ledger: "Ledger",
    planned: Sequence[PlannedCandidate],
    opened: datetime,
    until: datetime,
) -> pa.Table:
    """Return the labels that all candidates are judged on: matured since the window opened, with everyone's features.

    Raises:
        NightloopError: there are none.
    """
    return leave_out_refused(use_case, lake, ledger, planned, read_labels(use_case, lake, opened, until))[0]


def judging_windows(
    use_case: UseCase, lake: LakeFiles, ledger: "Ledger", planned: Sequence[PlannedCandidate], as_of: datetime
) -> list[datetime]:
    """Return when the windows open that judge together, youngest first: a rolling origin (Tashman 2000).

    Each ends where the one before it in the list opens, the first at `as_of`. There is more than one only where the use
    case allows it, and the younger ones together have too few rows or positives for the gate. A window without labels,
    or with none before it to train on, ends the list.
    """
    training, promotion = use_case.training, use_case.promotion
    if training.judging_windows == 1:
        return [judging_opens(as_of, training)]
    windows: list[datetime] = []
    until, rows, positives = as_of, 0, 0
    while len(windows) < training.judging_windows:
        opened = judging_opens(until, training)
        try:
            judged = read_judged(use_case, lake, ledger, planned, opened, until)
            before = _stream_labels(_open_labels(use_case, lake, None, opened), None, opened)
        except NightloopError:
            break
        if next(before, None) is None:
            break
        windows.append(opened)
        until, rows = opened, rows + judged.num_rows
        positives += pc.sum(pc.greater(judged.column("label"), 0)).as_py()
        if rows >= promotion.min_rows and (use_case.task == "regression" or positives >= promotion.min_positives):
            break
    return windows or [judging_opens(as_of, training)]


def read_rows(use_case: UseCase, lake: LakeFiles, planned: PlannedCandidate, labels: pa.Table) -> pa.Table:
    """Return the labelled rows with the features that a candidate sees, their entity key, and protected attributes.

    A protected attribute that an older version does not have is left out.

    Raises:
        NightloopError: a labelled row has no features of the candidate's version.
    """
    stored = _open_features(use_case, lake, planned, labels.column("cohort").unique().to_pylist())
    return _describe_labels(use_case, stored, planned, labels)


def _open_features(use_case: UseCase, lake: LakeFiles, planned: PlannedCandidate, cohorts: Iterable[str]) -> LakeRows:
    nights = tuple(sorted(map(parse_night, cohorts)))
    return lake.open(features_ref(use_case, planned), Replay(use_case.name, nights))


def _describe_labels(use_case: UseCase, stored: LakeRows, planned: PlannedCandidate, labels: pa.Table) -> pa.Table:
    own = [name for name in (*use_case.entity, *use_case.protected) if name in stored.columns]
    batches = list(stored.stream(list(dict.fromkeys(["row_id", *own, "decision_time", *planned.columns]))))
    if not batches:
        where = f"lake table {features_ref(use_case, planned)}"
        raise NightloopError(Fault(where, "features of the labelled nights", "none", "build_features"))
    return join_labels(pa.Table.from_batches(batches), labels)


def read_training_rows(
    use_case: UseCase, lake: LakeFiles, ledger: "Ledger", planned: PlannedCandidate, cut: datetime, folder: Path
) -> tuple[pa.Table, dict[str, Any]]:
    """Return the rows a candidate may train on as of a cut, oldest first, and the pins that fix them.

    The rows lie in a file of `folder` that is mapped into memory, written by groups of cohorts, so that a window may be
    larger than memory; the folder may go while the table is used.

    Raises:
        NightloopError: no label matured, no cohort has features, or a labelled row has none.
    """
    stored, days = _open_labels(use_case, lake, None, cut), use_case.training.window_days
    # counted in a pass of its own, so that the next one can read groups of a size that memory holds
    cohorts: Counter[str] = Counter()
    for labels in _stream_labels(stored, None, cut):
        found = select_window(labels, cut, days).column("cohort").value_counts()
        cohorts.update({one["values"]: one["counts"] for one in found.to_pylist()})
    if not cohorts:
        _lack_labels(use_case, None, cut)
    refused = _list_refused(use_case, lake, ledger, [planned], sorted(cohorts))
    kept = {cohort: rows for cohort, rows in sorted(cohorts.items()) if cohort not in refused}
    features, content = _open_features(use_case, lake, planned, kept), ContentHash()

    def read_group(group: Sequence[str]) -> pa.Table:
        of_group = _stream_labels(stored.where(field("cohort").isin(group)), None, cut)
        labels = select_window(pa.concat_tables(of_group), cut, days)
        rows = _describe_labels(use_case, features.where(field("night").isin(group)), planned, labels)
        content.add(rows)
        return rows

    rows = lay_out(folder / f"training_rows_{cut:%Y%m%dT%H%M%SZ}.arrow", map(read_group, _group(kept)))
    decided = rows.column("decision_time")
    pins = {
        "feature_version": planned.feature_version,
        "spine_from": decided[0].as_py().isoformat() if rows.num_rows else "",
        "spine_to": decided[-1].as_py().isoformat() if rows.num_rows else "",
        "as_of": cut.isoformat(),
        "rows": rows.num_rows,
        "content": content.hexdigest(),
        "nights_without_features": len(refused),
    }
    return rows, pins


def _open_labels(use_case: UseCase, lake: LakeFiles, after: datetime | None, until: datetime) -> LakeRows:
    start = datetime.combine(use_case.start, time(), UTC) if after is None else after
    nights = tuple(night for night in ticks(use_case.schedule, start, until) if after is None or night > after)
    if not nights:
        _lack_labels(use_case, after, until)
    return lake.open(DatasetRef("labels", use_case.name), Replay(use_case.name, nights))


def _stream_labels(stored: LakeRows, after: datetime | None, until: datetime) -> Iterator[pa.Table]:
    for batch in stored.stream(_LABEL_COLUMNS):
        if (labels := matured_labels(pa.Table.from_batches([batch]), after, until)).num_rows:
            yield labels


def _lack_labels(use_case: UseCase, after: datetime | None, until: datetime) -> NoReturn:
    since = "ever" if after is None else f"after {after.isoformat()}"
    where = f"labels of {use_case.name} as of {until.isoformat()}"
    remedy = "wait for cohorts to mature, or run measure_outcomes for the nights in which they did"
    raise NightloopError(Fault(where, f"observed outcomes that matured {since}", "none", remedy))


def _list_refused(
    use_case: UseCase, lake: LakeFiles, ledger: "Ledger", planned: Sequence[PlannedCandidate], cohorts: Sequence[str]
) -> list[str]:
    """Return the cohorts for which some candidate's features cannot be computed.

    Raises:
        NightloopError: these are all.
    """
    replay = Replay(use_case.name, tuple(sorted(map(parse_night, cohorts))))
    refs = dict.fromkeys(features_ref(use_case, one) for one in planned)
    refused = sorted({night for ref in refs for night in refused_nights(ref, replay, ledger, lake)})
    if set(refused) >= set(cohorts):
        where, found = f"features of {len(cohorts)} labelled nights", "none that could be refilled"
        remedy = "see the facts of build_features, and run clean_source again where it says so"
        raise NightloopError(Fault(where, ", ".join(map(str, refs)), found, remedy))
    return refused


def _group(cohorts: Mapping[str, int]) -> Iterator[list[str]]:
    """Yield consecutive cohorts that together hold about so many rows as memory should."""
    group: list[str] = []
    held = 0
    for cohort, rows in cohorts.items():
        if group and held + rows > _GROUP_ROWS:
            yield group
            group, held = [], 0
        group.append(cohort)
        held += rows
    if group:
        yield group
