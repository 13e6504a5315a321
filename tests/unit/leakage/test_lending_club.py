"""Lending Club's public file: every column written after the outcome is refused by name, the lender's own pass."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from nightloop.leakage.gate import judge_columns
from nightloop.leakage.levels import read_sample
from nightloop.leakage.params import LeakageParams
from nightloop.verdict import Check
from tests.e2e.feeds import SHARED_DATA, needs_feed
from tests.unit.leakage.builders import refusals

pytestmark = [pytest.mark.data, needs_feed("lending_club")]
AFTER_THE_OUTCOME = {
    "loan_status", "total_pymnt", "total_rec_prncp", "total_rec_int", "recoveries", "collection_recovery_fee",
    "last_pymnt_d", "last_pymnt_amnt", "debt_settlement_flag",
}  # fmt: skip


@pytest.fixture(scope="module")
def loans() -> pd.DataFrame:
    return pd.read_csv(SHARED_DATA / "lending_club" / "leaky_full.csv.gz", low_memory=False)


def judge(loans: pd.DataFrame, without: set[str]) -> list[Check]:
    """Judge `charged off`, each loan decided on when its month of issue ended."""
    decided = pd.to_datetime(loans["issue_d"]) + pd.offsets.MonthBegin(1)
    shown = [name for name in loans if name not in {"loan_id", "issue_d", *without}]
    numeric = [name for name in shown if loans[name].dtype.kind in "if"]
    table = pa.Table.from_pandas(loans, preserve_index=False)
    label = loans["loan_status"].str.contains("Charged Off").astype(float)
    sample = read_sample(
        table.append_column("label", pa.array(label)),
        "binary",
        numeric,
        [name for name in shown if name not in numeric],
        loans["loan_id"].tolist(),
    )
    return judge_columns(sample, decided.astype("datetime64[s]").astype("int64").to_numpy(np.float64), LeakageParams())


def test_every_column_written_after_the_outcome_is_named(loans: pd.DataFrame) -> None:
    found = refusals(judge(loans, without=set()))
    named = {name: set(name.partition(": ")[2].split(", ")) for name in found}
    assert set.union(*named.values()) >= AFTER_THE_OUTCOME
    assert all(columns & AFTER_THE_OUTCOME for columns in named.values()), named
    assert found["nearly determines the label: recoveries"] == pytest.approx(0.994, abs=0.001)
    assert found["one value gives the label away: debt_settlement_flag"] == pytest.approx(0.976, abs=0.001)
    assert found["one value gives the label away: collection_recovery_fee"] > 0.99
    assert found["later than the decision: last_pymnt_d"] > 0.9
    assert found["together nearly determine the label: funded_amnt, total_rec_prncp"] > 0.999


def test_what_the_lender_knew_passes(loans: pd.DataFrame) -> None:
    checks = judge(loans, without=AFTER_THE_OUTCOME)
    assert {check.outcome for check in checks} == {"pass"}
    strongest = next(check for check in checks if check.name == "nearly determines the label")
    assert strongest.figure == pytest.approx(0.66, abs=0.01)
    assert "sub_grade" in strongest.detail
