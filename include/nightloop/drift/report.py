"""The picture beside a verdict: Evidently's report of a bounded sample, below our verdict and its full-data figures.

Evidently draws and does not judge. Its import takes seconds, so it stands in the one function that draws.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from html import escape

import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from nightloop.drift.distance import Kind
from nightloop.drift.feed import MEMORY_NIGHTS
from nightloop.drift.past import PastVerdict, list_baseline
from nightloop.run import format_night
from nightloop.verdict import Verdict

_METHODS: Mapping[Kind, str] = {"numeric": "psi", "categorical": "jensenshannon"}
_NO_MARKUP = str.maketrans("<>&", "()+")
_STYLE = "font-family:sans-serif;margin:1.5em;line-height:1.4"


def choose_reference(verdict: PastVerdict, nights: Sequence[datetime]) -> list[datetime]:
    """Return the nights to draw tonight against: the verdict's baseline, else the nights before it."""
    return list_baseline(verdict) or [night for night in nights if night < verdict.as_of][-MEMORY_NIGHTS:]


def sample_nights(frame: DataFrame, nights: Sequence[datetime], columns: Sequence[str], rows: int) -> pd.DataFrame:
    """Return at most `rows` rows of the nights, picked by a hash of `row_id` in Spark: the same ones each time."""
    wanted = frame.where(F.col("night").isin([format_night(night) for night in nights]))
    return wanted.orderBy(F.xxhash64("row_id"), "row_id").limit(rows).select(*columns).toPandas()


def draw_report(
    current: pd.DataFrame, reference: pd.DataFrame, numeric: Sequence[str], categorical: Sequence[str], verdict: Verdict
) -> str:
    """Return one HTML page: the verdict with every check, then Evidently's drawing of the drawable columns."""
    kinds: dict[str, Kind] = {**dict.fromkeys(numeric, "numeric"), **dict.fromkeys(categorical, "categorical")}
    left_out = {column: why for column in kinds if (why := _why_not(current, reference, column))}
    drawn: dict[str, Kind] = {column: kind for column, kind in kinds.items() if column not in left_out}
    head = "\n".join(_head(verdict, left_out, len(current), len(reference)))
    if not drawn:
        return f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"></head><body>{head}</body></html>'
    page = _draw(current, reference, drawn)
    before, body, after = page.partition("<body>")
    return f"{before}{body}{head}{after}" if body else f"{head}{page}"


def _draw(current: pd.DataFrame, reference: pd.DataFrame, kinds: Mapping[str, Kind]) -> str:
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    numeric = [column for column, kind in kinds.items() if kind == "numeric"]
    categorical = [column for column, kind in kinds.items() if kind == "categorical"]
    definition = DataDefinition(numerical_columns=numeric, categorical_columns=categorical)
    datasets = [
        Dataset.from_pandas(_typed(frame, numeric, categorical), data_definition=definition)
        for frame in (current, reference)
    ]
    # named, as Evidently takes another method above 1,000 rows
    methods = {column: _METHODS[kind] for column, kind in kinds.items()}
    report = Report([DataDriftPreset(columns=[*kinds], per_column_method=methods)])
    html: str = report.run(*datasets).get_html_str(as_iframe=False)
    return html


def _typed(frame: pd.DataFrame, numeric: Sequence[str], categorical: Sequence[str]) -> pd.DataFrame:
    """Return plain floats and texts; Evidently writes categories into a script, so none may hold markup."""
    texts = frame[list(categorical)].astype("object")
    texts = texts.map(lambda value: None if pd.isna(value) else str(value).translate(_NO_MARKUP))
    return pd.concat([frame[list(numeric)].astype("float64"), texts], axis=1)


def _why_not(current: pd.DataFrame, reference: pd.DataFrame, column: str) -> str:
    # one empty column would end Evidently's whole report
    if current[column].notna().sum() == 0 or reference[column].notna().sum() == 0:
        return "empty"
    return "constant" if pd.concat([current[column], reference[column]]).dropna().nunique() == 1 else ""


def _head(verdict: Verdict, left_out: Mapping[str, str], current: int, reference: int) -> Iterator[str]:
    yield f'<section style="{_STYLE}"><h1>{escape(verdict.subject)}: {escape(verdict.answer)}</h1>'
    yield f"<p>{escape(verdict.reason)}</p>"
    yield "<dl>" + "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in verdict.facts.items()) + "</dl>"
    titles = "".join(f"<th>{title}</th>" for title in ("check", "outcome", "figure", "limit", ""))
    yield f"<h2>Figures on every row</h2><table><tr>{titles}</tr>"
    for check in verdict.checks:
        figures = "".join(
            f"<td>{'' if value is None else f'{value:.4g}'}</td>" for value in (check.figure, check.limit)
        )
        yield f"<tr><td>{escape(check.name)}</td><td>{check.outcome}</td>{figures}<td>{escape(check.detail)}</td></tr>"
    yield "</table>"
    if left_out:
        named = ", ".join(f"{escape(column)} ({why})" for column, why in left_out.items())
        yield f"<p>Not drawn below: {named}.</p>"
    sizes = f"{current:,} sampled rows of the night against {reference:,}"
    yield f"<p>Below, Evidently draws {sizes}; it does not judge.</p></section>"
