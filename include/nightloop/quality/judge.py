"""Judge a whole staged partition by the `fail` and `warn` expectations of its suite, with Great Expectations.

Every judgement comes with its Data Docs page, on which the row rules stand too.
"""

import logging
import os
import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame

from nightloop.fault import Fault, NightloopError, TransientError, is_lost
from nightloop.quality.data_docs import describe_rule, draw_page
from nightloop.quality.params import Expectation, Suite
from nightloop.quality.rules import name_rule
from nightloop.run import RunKey
from nightloop.verdict import Check, Verdict

_LIMITS = ("mostly", "min_value", "max_value", "value")


def preload(suite: Suite) -> None:
    """Begin to import Great Expectations beside other work where the suite needs it: it takes seconds."""
    if suite.expectations:
        threading.Thread(target=_import_library, name="import-great-expectations", daemon=True).start()


def judged_expectations(suite: Suite) -> list[Expectation]:
    """Return the expectations that look at the partition; `quarantine` ones look at rows."""
    return [expectation for expectation in suite.expectations if expectation.severity != "quarantine"]


@dataclass(frozen=True)
class SetAside:
    """What the row rules did before: of `rows` rows, how many broke each rule."""

    rules: Mapping[str, int]
    rows: int


def row_expectations(suite: Suite) -> list[Expectation]:
    """Return the expectations that look at rows, one by one."""
    return [expectation for expectation in suite.expectations if expectation.severity == "quarantine"]


def judge(
    frame: DataFrame | None,
    suite: Suite,
    subject: str,
    run_key: RunKey,
    *,
    set_aside: SetAside | None = None,
    hidden: Collection[str] = (),
) -> tuple[Verdict, str]:
    """Return the verdict `pass` or `fail` with one check per expectation, and its Data Docs page (HTML).

    `figure` is the share of unexpected rows, or the observed value of an aggregate. No check carries a value of a row;
    the page shows samples, but none of `hidden` columns. Without a frame only the row rules are on the page; without
    any expectation it is empty.

    Raises:
        NightloopError: an expectation could not be evaluated: the suite is wrong, not the data.
        TransientError: the session was lost meanwhile.
    """
    expectations = judged_expectations(suite) if frame is not None else []
    results = _validate(frame, expectations) if frame is not None and expectations else []
    verdict = _read_verdict(expectations, results, subject)
    documents = [result.to_json_dict() for result in results]
    if set_aside is not None:
        documents += [describe_rule(each, set_aside.rules, set_aside.rows) for each in row_expectations(suite)]
    if not documents:
        return verdict, ""
    _import_library()
    return verdict, draw_page(documents, subject, run_key, hidden)


def _read_verdict(expectations: Sequence[Expectation], results: Sequence[Any], subject: str) -> Verdict:
    if not expectations:
        return Verdict(subject, "pass", "no expectation on the partition was judged")
    raised = [
        (name_rule(expectation), message)
        for expectation, result in zip(expectations, results, strict=True)
        if (message := _find_exception(result))
    ]
    # the library turns every error into a result, that of a lost session too
    if lost := [message for _, message in raised if is_lost(message)]:
        raise TransientError(f"judging {subject}: {lost[0]}")
    if raised:
        wanted = "an expectation that can be evaluated"
        raise NightloopError([Fault(f"suite of {subject}, {rule}", wanted, found, "mend it") for rule, found in raised])
    checks = tuple(_read_check(*pair) for pair in zip(expectations, results, strict=True))
    failed = [check.name for check in checks if check.is_failed]
    reason = f"{len(failed)} of {len(checks)} expectations failed" if failed else f"{len(checks)} expectations judged"
    return Verdict(subject, "fail" if failed else "pass", reason, checks, columns=tuple(failed))


def verdict_error(verdict: Verdict, page: str = "") -> NightloopError:
    """Return the error that a failed verdict stops its job with; it names the page where there is one."""
    remedy = f"nothing was published; see {page}" if page else "nothing was published"
    return NightloopError(
        [
            Fault(f"{verdict.subject}: {check.name}", f"{check.detail}", f"{check.figure}", remedy)
            for check in verdict.failed
        ]
    )


def _import_library() -> Any:
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    logging.getLogger("great_expectations").setLevel(logging.WARNING)
    import great_expectations

    return great_expectations


def _validate(frame: DataFrame, expectations: list[Expectation]) -> list[Any]:
    gx = _import_library()
    from great_expectations.expectations.registry import get_expectation_impl

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    # by default the library persists the frame and never lets go of it
    asset = context.data_sources.add_spark("staged", persist=False).add_dataframe_asset("partition")
    batch = asset.add_batch_definition_whole_dataframe("whole").get_batch({"dataframe": frame})
    built = []
    for number, expectation in enumerate(expectations):
        try:
            implementation = get_expectation_impl(expectation.expect)
            built.append(implementation(**_arguments(expectation.kwargs), meta={"number": number}))
        except Exception as error:
            raise NightloopError(
                Fault(
                    f"suite.yaml {name_rule(expectation)}",
                    "an expectation of Great Expectations with its arguments",
                    " ".join(str(error).split())[:300],
                    "correct its name or kwargs",
                )
            ) from error
    suite = gx.ExpectationSuite(name="suite", expectations=built)
    # not by a validation definition, whose store cannot write numpy's booleans, as quantile checks return them
    results = batch.validate(suite, result_format="BASIC").results
    # the library groups expectations by their column
    return sorted(results, key=lambda result: result.expectation_config.meta["number"])


def _arguments(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    if "row_condition" in kwargs:
        return {"condition_parser": "spark", **kwargs}
    return dict(kwargs)


def _find_exception(result: Any) -> str:
    info = result.exception_info or {}
    # flat where the expectation raised, by metric where one of its metrics did; both come as a mere `success=False`
    entries = [info] if "raised_exception" in info else [entry for entry in info.values() if isinstance(entry, dict)]
    messages = [str(entry.get("exception_message")) for entry in entries if entry.get("raised_exception")]
    return " ".join(" ".join(messages).split())[:300]


def _read_check(expectation: Expectation, result: Any) -> Check:
    found: Mapping[str, Any] = result.result or {}
    percent = _number(found.get("unexpected_percent"))
    figure = _number(found.get("observed_value")) if percent is None else percent / 100
    outcome = "pass" if result.success else ("warn" if expectation.severity == "warn" else "fail")
    limits = {key: expectation.kwargs[key] for key in _LIMITS if expectation.kwargs.get(key) is not None}
    limit = next((number for value in limits.values() if (number := _number(value)) is not None), None)
    detail = ", ".join(f"{key} {value}" for key, value in limits.items()) or "all rows"
    return Check(name_rule(expectation), outcome, figure, limit, detail)  # type: ignore[arg-type]


def _number(value: object) -> float | None:
    """Return a plain float of any number, numpy's included, and None of anything else."""
    try:
        return None if value is None or isinstance(value, (str, bool, list, dict)) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
