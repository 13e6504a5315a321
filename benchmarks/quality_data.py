"""The three data sets of `make bench NAME=quality`: Lending Club, New York taxis and Adult.

Read from the folder that NIGHTLOOP_SHARED_DATA names; its README tells where the rows come from.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pyarrow as pa

from nightloop.training.params import Task
from tests.e2e.feeds import SHARED_DATA

_ADULT_COLUMNS = ("age", "workclass", "fnlwgt", "education", "education_num", "marital_status", "occupation",
                  "relationship", "race", "sex", "capital_gain", "capital_loss", "hours_per_week", "native_country",
                  "income")  # fmt: skip
_LONGEST_TRIP_MINUTES = 180


@dataclass(frozen=True)
class Problem:
    """One data set: rows to train on and rows to judge, each with decision_time, cohort, row_id and label."""

    name: str
    task: Task
    metric: str
    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    training: pa.Table
    judged: pa.Table
    params: Mapping[str, str] = field(default_factory=dict)


def read_problems() -> list[Problem]:
    """Return all three."""
    return [read_lending_club(), read_nyc_taxi(), read_adult()]


def read_lending_club() -> Problem:
    """Charged off within 12 months of issue: loans matured by 2011-01-01 to train on, the loans of 2011 judged."""
    applications, outcomes = (
        pd.concat(map(_read_month, sorted((SHARED_DATA / "lending_club" / part).glob("*.csv.gz"))))
        for part in ("applications", "outcomes")
    )
    known = outcomes[["loan_id", "outcome_d", "status"]].drop_duplicates("loan_id")
    loans = applications.merge(known, on="loan_id", how="left", validate="one_to_one")
    # an outcome dated by its month is known at that month's end
    ended = pd.to_datetime(loans["outcome_d"]) + pd.offsets.MonthEnd(0)
    decided = pd.to_datetime(loans["month"]) + pd.offsets.MonthBegin(1)
    is_late = (loans["status"] == "Charged Off") & (ended <= decided + pd.DateOffset(months=12))
    opened = pd.to_datetime(loans["earliest_cr_line"])
    years = loans["emp_length"].str.extract(r"(\d+)", expand=False).astype(float)
    rows = loans.assign(
        row_id=loans["loan_id"],
        decision_time=decided,
        label=is_late.astype(float),
        employment_years=years.mask(loans["emp_length"].str.startswith("<", na=False), 0.0),
        loan_to_income_ratio=loans["loan_amnt"] / loans["annual_inc"],
        credit_history_years=(pd.to_datetime(loans["issue_d"]) - opened).dt.days / 365.25,
    )
    numeric = ("loan_amnt", "term", "employment_years", "annual_inc", "loan_to_income_ratio", "dti", "delinq_2yrs",
               "credit_history_years", "inq_last_6mths", "open_acc", "pub_rec", "revol_bal", "revol_util", "total_acc",
               "mths_since_last_delinq", "pub_rec_bankruptcies")  # fmt: skip
    categorical = ("home_ownership", "verification_status", "purpose", "addr_state")
    training = rows[rows["decision_time"] + pd.DateOffset(months=12) <= pd.Timestamp("2011-01-01")]
    judged = rows[(rows["month"] >= "2011-01") & (rows["month"] <= "2011-12")]
    tables = (_table(part, numeric, categorical) for part in (training, judged))
    return Problem("lending_club", "binary", "roc_auc", numeric, categorical, *tables)


def read_nyc_taxi() -> Problem:
    """Minutes of a trip, told at its pickup: trained on 2018, judged on 2019-01 to 2019-03.

    Trips of no time or of more than three hours, whose meter was left running, and rows dated outside their month are
    left out of both.
    """
    months = [*pd.period_range("2018-01", "2019-03", freq="M").astype(str)]
    trips = pd.concat(
        [_read_month(SHARED_DATA / "nyc_taxi" / f"{month}.csv.gz") for month in months], ignore_index=True
    )
    started, ended = (pd.to_datetime(trips[name]) for name in ("pickup_datetime", "dropoff_datetime"))
    zones = {name: trips[f"{name}_location_id"].astype(int).astype(str).str.zfill(3) for name in ("pickup", "dropoff")}
    rows = trips.assign(
        row_id=[f"t{number:07d}" for number in range(len(trips))],
        decision_time=started,
        label=(ended - started).dt.total_seconds() / 60,
        hour_of_day=started.dt.hour + started.dt.minute / 60,
        day_of_week=started.dt.dayofweek,
        pickup_zone=zones["pickup"],
        dropoff_zone=zones["dropoff"],
        rate_code=trips["rate_code_id"].fillna(0).astype(int).astype(str),
    )
    rows = rows[rows["label"].between(0, _LONGEST_TRIP_MINUTES, inclusive="right")]
    rows = rows[rows["decision_time"].dt.strftime("%Y-%m") == rows["month"]]
    numeric = ("trip_distance", "hour_of_day", "day_of_week", "passenger_count")
    categorical = ("pickup_zone", "dropoff_zone", "rate_code")
    parts = (rows[rows["month"] < "2019"], rows[rows["month"] >= "2019"])
    training, judged = (_table(part, numeric, categorical) for part in parts)
    params = {"target": "log1p"}
    return Problem("nyc_taxi", "regression", "mae", numeric, categorical, training, judged, params)


def read_adult() -> Problem:
    """Income above 50,000 dollars, on the published test set; the rows have no time and keep their order."""
    tables = []
    numeric = ("age", "fnlwgt", "education_num", "capital_gain", "capital_loss", "hours_per_week")
    categorical = tuple(name for name in _ADULT_COLUMNS[:-1] if name not in numeric)
    for part in ("train", "test"):
        path = SHARED_DATA / "adult" / f"{part}.csv.gz"
        rows = pd.read_csv(path, names=list(_ADULT_COLUMNS), skipinitialspace=True, na_values="?")
        label = rows["income"].str.startswith(">50K").astype(float)
        when = pd.Timestamp("1994-01-01")
        # ids of one width, so that sorting by them keeps the order of the file
        rows = rows.assign(row_id=[f"a{number:06d}" for number in range(len(rows))], label=label, decision_time=when)
        tables.append(_table(rows, numeric, categorical))
    return Problem("adult", "binary", "roc_auc", numeric, categorical, *tables)


def _read_month(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, low_memory=False).assign(month=path.name.removesuffix(".csv.gz"))


def _table(rows: pd.DataFrame, numeric: tuple[str, ...], categorical: tuple[str, ...]) -> pa.Table:
    # oldest first, as `prepare_rows` cuts by place
    ordered = rows.sort_values(["decision_time", "row_id"], ignore_index=True)
    decided = ordered["decision_time"].dt.tz_localize("UTC")
    columns = {
        "row_id": ordered["row_id"].astype(str),
        "decision_time": decided,
        "cohort": decided.dt.strftime("%Y%m01T0000Z"),
        "label": ordered["label"].astype(float),
        **{name: ordered[name].astype(float) for name in numeric},
        **{name: ordered[name].astype("string") for name in categorical},
    }
    return pa.Table.from_pandas(pd.DataFrame(columns), preserve_index=False)
