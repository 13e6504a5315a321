"""Data Docs: the page on which Great Expectations shows what a suite found in one run."""

import json
from collections.abc import Collection, Mapping, Sequence
from html import escape
from typing import Any

from nightloop.quality.params import Expectation
from nightloop.quality.rules import name_rule, named_columns
from nightloop.run import RunKey

_SAMPLES = ("observed_value", "details", "unexpected_index_query")
# the library's page takes its styles and icons from other hosts, which the policy forbids: these stand in
_HEAD = """<head>
    <meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
    <style>
      body { font-family: sans-serif; margin: 2em } table { border-collapse: collapse; margin: 1em 0 }
      th, td { border: 1px solid #ccc; padding: .3em .6em; text-align: left; vertical-align: top }
      .fa-check-circle::before { content: "✔"; color: green } .fa-times::before { content: "✘"; color: red }
      .fa-exclamation-triangle::before { content: "⚠" } nav img, nav li a, .btn-group, footer { display: none }
    </style>"""


def draw_page(results: Sequence[Mapping[str, Any]], subject: str, run_key: RunKey, hidden: Collection[str]) -> str:
    """Return one self-contained page of validation results (as JSON documents of Great Expectations).

    Nothing that comes from a row can run: strings are escaped here, since the library's tables do not escape them, and
    the page's own policy allows neither a script nor anything from elsewhere. Of `hidden` columns, which name a person
    or a record, no value is shown.
    """
    from great_expectations.core import ExpectationSuiteValidationResult
    from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
    from great_expectations.render.view.view import DefaultJinjaPageView

    passed = sum(bool(result["success"]) for result in results)
    statistics = {
        "evaluated_expectations": len(results),
        "successful_expectations": passed,
        "unsuccessful_expectations": len(results) - passed,
        "success_percent": 100 * passed / len(results),
    }
    shown = ExpectationSuiteValidationResult(
        success=passed == len(results),
        results=[_build_result(result, hidden) for result in results],
        suite_name=subject,
        statistics=statistics,
        meta={"run_id": {"run_name": str(run_key), "run_time": run_key.as_of.isoformat()}},
    )
    view: Any = DefaultJinjaPageView()
    page: str = view.render(ValidationResultsPageRenderer(run_info_at_end=True).render(shown))
    return page.replace("<head>", _HEAD, 1)


def describe_rule(expectation: Expectation, broken: Mapping[str, int], rows: int) -> dict[str, Any]:
    """Return what a row rule found, as Great Expectations would have said it: how many of the rows break it."""
    count = broken.get(name_rule(expectation), 0)
    return {
        "success": count == 0,
        "expectation_config": {"type": expectation.expect, "kwargs": dict(expectation.kwargs)},
        "result": {
            "element_count": rows,
            "unexpected_count": count,
            "unexpected_percent": 100 * count / rows if rows else 0.0,
            "partial_unexpected_list": [],
        },
    }


def _build_result(document: Mapping[str, Any], hidden: Collection[str]) -> Any:
    from great_expectations.core import ExpectationValidationResult
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    document = json.loads(json.dumps(document, default=_plain))
    config = document["expectation_config"]
    kwargs = {name: value for name, value in config["kwargs"].items() if name != "batch_id"}
    is_hidden = not {*hidden}.isdisjoint(named_columns(kwargs))
    found = {
        name: value
        for name, value in document["result"].items()
        if not (is_hidden and _is_sample(name) and not isinstance(value, (int, float)))
    }
    if "unexpected_percent" not in found:
        found.pop("unexpected_count", None)  # the library would look for the share beside it
    return ExpectationValidationResult(
        success=document["success"],
        expectation_config=ExpectationConfiguration(type=config["type"], kwargs=kwargs),
        result=_escape(found),
        exception_info={"raised_exception": False, "exception_traceback": None, "exception_message": None},
    )


def _is_sample(name: str) -> bool:
    return name in _SAMPLES or name.startswith(("unexpected_list", "unexpected_index", "partial_unexpected"))


def _escape(value: Any) -> Any:
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, Mapping):
        return {_escape(name): _escape(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_escape(entry) for entry in value]
    return value


def _plain(value: Any) -> Any:
    """Return numpy's numbers, which the tables cannot print, as plain ones, and anything else as text."""
    return value.item() if hasattr(value, "item") else str(value)
