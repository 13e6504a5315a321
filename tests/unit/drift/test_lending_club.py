"""On the real monthly feed the decision speaks up when 60-month loans appear, and hardly ever else."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from nightloop.asof.labels import complete_at
from nightloop.asof.params import LabelParams
from nightloop.drift.decision import decide
from nightloop.drift.inputs import Champion, DecisionInputs
from nightloop.drift.params import DriftParams, Evidence
from nightloop.drift.performance import Yardstick
from nightloop.drift.profile import ColumnProfile, place_edges
from nightloop.folders.schedule import first_tick_at_or_after, next_tick
from nightloop.stores.ledger.rows import MaturityRow, VerdictRow
from nightloop.verdict import Verdict

FILES = sorted((Path(__file__).parents[4] / "shared/data/lending_club/applications").glob("*.csv.gz"))
pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not FILES, reason="needs the Lending Club feed in ../shared/data/lending_club"),
]
MONTHLY = "0 0 1 * *"
LABEL = LabelParams.model_validate({"horizon": "12 months"})
PARAMS = DriftParams(evidence=Evidence(m=1, n=1))
NUMERIC = (
    "loan_amnt annual_inc dti delinq_2yrs inq_last_6mths mths_since_last_delinq open_acc pub_rec revol_bal total_acc"
)
CATEGORICAL = "term emp_length home_ownership verification_status purpose addr_state"
CUT = datetime(2011, 1, 1, tzinfo=UTC)


def night_of(file: Path) -> datetime:
    return next_tick(MONTHLY, datetime.strptime(file.name[:7], "%Y-%m").replace(tzinfo=UTC))


def matures_at(cohort: datetime) -> datetime:
    return first_tick_at_or_after(MONTHLY, complete_at(cohort, LABEL))


def profile_file(file: Path, edges: dict[str, tuple[float, ...]]) -> list[ColumnProfile]:
    frame, at = pd.read_csv(file), night_of(file)
    rows, is_enough = len(frame), len(frame) >= PARAMS.min_rows
    found: list[ColumnProfile] = []
    for column in (*NUMERIC.split(), *CATEGORICAL.split()):
        values, missing = frame[column].dropna(), int(frame[column].isna().sum())
        own: tuple[float, ...] = ()
        if column in NUMERIC.split():
            if is_enough and column not in edges:
                edges[column] = place_edges(list(np.quantile(values, np.linspace(0, 1, 11))))
            own = edges.get(column, (0.0,))
            values = pd.Series(sum((values >= edge).astype(int) for edge in (own[:-1] or own)) + (values > own[-1]))
        counts = {str(value): int(count) for value, count in values.value_counts().items()} if is_enough else {}
        kind: Any = "numeric" if column in NUMERIC.split() else "categorical"
        found.append(ColumnProfile(at, column, kind, rows, missing, own if is_enough else (), counts))
    return found


@pytest.fixture(scope="module")
def verdicts() -> dict[datetime, Verdict]:
    """Every monthly verdict, the first champion fitted as of 2011-01-01."""
    edges: dict[str, tuple[float, ...]] = {}
    profiles = [profile for file in FILES for profile in profile_file(file, edges)]
    sizes = {profile.as_of: profile.rows for profile in profiles}
    maturity = [MaturityRow("lc", matures_at(at), "main", at, matures_at(at), n, n) for at, n in sizes.items()]
    inputs = DecisionInputs.gather("lc", profiles, PARAMS, matures_at=matures_at, maturity=maturity)
    past: list[VerdictRow] = []
    for at in sizes:
        champion = Champion(1, CUT, CUT, Yardstick("roc_auc", 0.64)) if at > CUT else None
        verdict = decide(replace(inputs, as_of=at, past=past, champion=champion), PARAMS)
        past.append(VerdictRow("lc", at, "drift", 1, verdict))
    return {row.as_of: row.verdict for row in past}


def test_the_month_of_the_first_60_month_loans_waits_a_year(verdicts: dict[datetime, Verdict]) -> None:
    verdict = verdicts[datetime(2010, 6, 1, tzinfo=UTC)]
    assert verdict.answer == "wait"
    assert "term" in verdict.columns
    assert verdict.facts["until"] == "2011-06-01"


def test_when_their_labels_mature_retraining_is_asked_for(verdicts: dict[datetime, Verdict]) -> None:
    verdict = verdicts[datetime(2011, 6, 1, tzinfo=UTC)]
    assert (verdict.answer, verdict.columns) == ("retrain", ("term",))


def test_alarms_are_few(verdicts: dict[datetime, Verdict]) -> None:
    alarms = [at for at, verdict in verdicts.items() if verdict.answer != "nothing"]
    assert len(alarms) <= 4
