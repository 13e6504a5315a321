"""The ledger: tokens, fences, current rows, requests and the champion in logical time."""

import math
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from nightloop.fault import FencedError, NightloopError
from nightloop.run import Replay, RunKey, format_night
from nightloop.stores.ledger.ledger import Ledger
from nightloop.stores.ledger.rows import FileRow, MaturityRow, MetricRow, ModelRow, ProfileRow, ReadmissionRow
from nightloop.verdict import Check, Verdict

BACKENDS = [
    pytest.param("sqlite", id="sqlite"),
    pytest.param("postgresql", id="postgresql", marks=pytest.mark.slow),
]
pytestmark = pytest.mark.parametrize("store_url", BACKENDS, indirect=True)

FIRST = datetime(2025, 1, 1, 2, tzinfo=UTC)


def night(number: int) -> datetime:
    return FIRST + timedelta(days=number)


def replay(first: int, last: int | None = None, **given: object) -> Replay:
    nights = tuple(night(number) for number in range(first, (first if last is None else last) + 1))
    return Replay("taxi", nights, **given)  # type: ignore[arg-type]


def model(digest: str = "d1", number: int = 0) -> ModelRow:
    return ModelRow("taxi", 0, digest, "file:///m.onnx", {"family": "linear"}, "abc", night(number), {"rows": 3}, {})


def verdict(answer: str) -> Verdict:
    return Verdict("taxi", answer, "because", (Check("psi", "fail", 0.4, 0.2),), ("distance",), {"until": "2025-02-01"})


def file(checksum: str, arrived: int, rows: int | None = None) -> FileRow:
    return FileRow(f"{checksum}.csv", checksum, 10, night(arrived), None, night(arrived), rows)


def test_tokens_rise(open_ledger: Ledger) -> None:
    tokens = [open_ledger.draw_token(replay(0), job) for job in ("build_features", "score_batch", "build_features")]
    assert tokens == sorted(set(tokens))


def test_tokens_are_drawn_once_by_many_at_a_time(open_ledger: Ledger) -> None:
    with ThreadPoolExecutor(8) as pool:
        tokens = list(pool.map(lambda number: open_ledger.draw_token(replay(number % 3), "score_batch"), range(40)))
    assert len(set(tokens)) == 40


@pytest.mark.parametrize(
    ("newer", "job", "is_fenced"),
    [
        pytest.param(replay(3), "score_batch", True, id="same-night"),
        pytest.param(replay(0, 5), "score_batch", True, id="longer-replay"),
        pytest.param(replay(3, variant="restated"), "score_batch", False, id="other-variant"),
        pytest.param(replay(4), "score_batch", False, id="other-night"),
        pytest.param(replay(3), "load_scores", False, id="other-job"),
    ],
)
def test_newer_attempt_fences_older_one(open_ledger: Ledger, newer: Replay, job: str, is_fenced: bool) -> None:
    old = open_ledger.draw_token(replay(2, 3), "score_batch", "try 1")
    new = open_ledger.draw_token(newer, job, "try 2")
    open_ledger.assert_not_fenced(newer, job, new)
    assert open_ledger.stale_tokens(newer, job, new) == ([old] if is_fenced else [])
    if is_fenced:
        with pytest.raises(FencedError, match=rf"token {old}.*token {new} \(try 2\)"):
            open_ledger.assert_not_fenced(replay(2, 3), "score_batch", old)
    else:
        open_ledger.assert_not_fenced(replay(2, 3), "score_batch", old)


def test_closed_night_keeps_what_it_knew(open_ledger: Ledger) -> None:
    bulk = replay(0, 2, known_to=night(9))
    open_ledger.close_run(bulk, open_ledger.draw_token(bulk, "build_features"))
    again = replay(1)
    open_ledger.close_run(again, open_ledger.draw_token(again, "build_features"))
    assert open_ledger.closed_nights("taxi") == [night(0), night(1), night(2)]
    assert open_ledger.known_to(RunKey("taxi", night(1))) == night(9)
    assert not open_ledger.is_closed("taxi", night(1), "restated")
    assert not open_ledger.is_closed("taxi", night(3))


def test_readmission_belongs_to_an_open_night(open_ledger: Ledger) -> None:
    token = open_ledger.draw_token(replay(5), "readmit_rows")
    row = ReadmissionRow("taxi", night(5), "c1", night(1), ((1, 3), (7, 7)), "ann", "the rule was wrong")
    open_ledger.readmit([row], token, 0)
    with pytest.raises(FencedError, match="expected 0 readmissions before it, found 1"):
        open_ledger.readmit([row], open_ledger.draw_token(replay(5), "readmit_rows"), 0)
    assert open_ledger.readmissions("taxi", replay(5, 6)) == open_ledger.readmissions("taxi") == [row]
    assert open_ledger.readmissions("taxi", replay(4)) == []
    assert row.count == 4
    assert [(line.action, line.actor, line.to) for line in open_ledger.audit("taxi")] == [
        ("readmit_rows", "ann", "4 rows of 1 files")
    ]
    open_ledger.close_run(replay(5), token, 1)
    with pytest.raises(FencedError, match="expected an open night"):
        open_ledger.readmit([row], token, 1)


def test_night_that_was_given_a_readmission_while_it_ran_does_not_close(open_ledger: Ledger) -> None:
    cleaning = open_ledger.draw_token(replay(4, 5), "clean_source")
    taken = open_ledger.readmissions("taxi", replay(4, 5))
    row = ReadmissionRow("taxi", night(5), "c1", night(1), ((1, 1),), "ann", "why")
    open_ledger.readmit([row], open_ledger.draw_token(replay(5), "readmit_rows"), 0)
    with pytest.raises(FencedError, match="expected 0 readmissions, as when the run began, found 1"):
        open_ledger.close_run(replay(4, 5), cleaning, len(taken))
    assert open_ledger.closed_nights("taxi") == []
    open_ledger.close_run(replay(4), cleaning)
    assert open_ledger.closed_nights("taxi") == [night(4)]


def test_files_are_kept_once_per_checksum(open_ledger: Ledger) -> None:
    token = open_ledger.draw_token(replay(0), "land_source")
    open_ledger.record_files("trips", [file("a", 0), file("b", 2)], token)
    open_ledger.record_files("trips", [file("a", 0, rows=7)], token)
    open_ledger.record_files("weather", [file("c", 0)], token)
    assert open_ledger.files("trips", night(0), night(1)) == [file("a", 0, rows=7)]
    assert open_ledger.known_checksums("trips") == {"a", "b"}


def test_counts_of_the_newest_attempt_are_current(open_ledger: Ledger) -> None:
    key = RunKey("taxi", night(0))
    old, landed, new = (open_ledger.draw_token(replay(0), job) for job in ("clean", "land", "clean"))
    open_ledger.write_counts(key, new, {"good": 5})
    open_ledger.write_counts(key, old, {"good": 4, "quarantined": 1})
    open_ledger.write_counts(key, landed, {"received": 5})
    open_ledger.write_counts(key, landed, {"received": 5})
    found = [(row.job, dict(row.counts)) for row in open_ledger.counts("taxi", night(0), night(0))]
    assert found == [("clean", {"good": 5}), ("land", {"received": 5})]


def test_a_definition_is_kept_once_and_the_last_one_counts(open_ledger: Ledger) -> None:
    old, new = (open_ledger.draw_token(replay(0), "build_features") for _ in range(2))
    assert open_ledger.definition("taxi", "v1") is None
    open_ledger.keep_definition("taxi", "v1", old, {"sql": "SELECT 1"})
    open_ledger.keep_definition("taxi", "v1", new, {"sql": "SELECT 1", "suite": ["a"]})
    open_ledger.keep_definition("loan", "v1", new, {"sql": "SELECT 2"})
    assert open_ledger.definition("taxi", "v1") == {"sql": "SELECT 1", "suite": ["a"]}
    assert open_ledger.definition("taxi", "v2") is None


def test_what_built_a_night_is_the_newest_attempt_of_its_dataset(open_ledger: Ledger) -> None:
    old, new = (open_ledger.draw_token(replay(0, 1), "build_features") for _ in range(2))
    first, second = format_night(night(0)), format_night(night(1))
    open_ledger.write_builds(replay(0), new, "features/taxi/v1", "v1", {first: 0})
    open_ledger.write_builds(replay(0, 1), old, "features/taxi/v1", "v1", {first: 5, second: 6})
    open_ledger.write_builds(replay(0), new, "features/taxi/v2", "v2", {first: 7})
    built = open_ledger.builds("taxi", "features/taxi/v1")
    assert {name: (row.as_of, row.rows) for name, row in built.items()} == {first: (night(0), 0), second: (night(1), 6)}
    assert open_ledger.builds("taxi", "features/taxi/v1", "restated") == {}


def test_token_of_nobody_is_refused(open_ledger: Ledger) -> None:
    with pytest.raises(NightloopError, match="expected a token drawn from this ledger, found 99"):
        open_ledger.write_counts(RunKey("taxi", night(0)), 99, {"good": 1})


def test_figures_come_back_as_they_were(open_ledger: Ledger) -> None:
    token = open_ledger.draw_token(replay(1), "measure_outcomes")
    key = RunKey("taxi", night(1))
    check = Check("rows", "warn", 3.0, None, "few")
    profile = ProfileRow("taxi", night(1), "main", "f", "x", "numeric", 9, 1, (-math.inf, 0.5, math.inf), {"0": 8})
    metric = MetricRow("taxi", night(1), "main", night(0), 1, "observed", "rmse", 3.5, 9)
    open_ledger.write_checks(key, token, "features", [check])
    open_ledger.write_profiles(token, [profile])
    open_ledger.write_metrics(
        token, [metric, MetricRow("taxi", night(1), "main", night(0), 1, "all", "auc", math.nan, 9, 0)]
    )
    assert [row.check for row in open_ledger.checks("taxi", night(0), night(2))] == [check]
    assert open_ledger.profiles("taxi", "f", night(0), night(2)) == [profile]
    undefined, measured = open_ledger.metrics("taxi", night(1), night(1))
    assert measured == metric
    assert math.isnan(undefined.value)
    assert open_ledger.metrics("taxi", night(2), night(3)) == []


def test_maturity_is_that_of_the_night_asked_for(open_ledger: Ledger) -> None:
    token = open_ledger.draw_token(replay(0, 3), "measure_outcomes")
    rows = [MaturityRow("taxi", night(n), "main", night(0), night(2), 10, observed) for n, observed in ((0, 0), (2, 8))]
    open_ledger.write_maturity(token, rows)
    assert open_ledger.maturity("taxi", night(1)) == rows[:1]
    assert open_ledger.maturity("taxi", night(3)) == rows[1:]


def test_bins_are_pinned_once(open_ledger: Ledger) -> None:
    assert open_ledger.bins("taxi", "abc") is None
    open_ledger.pin_bins("taxi", "abc", {"x": (0.0, math.inf)})
    open_ledger.pin_bins("taxi", "abc", {"x": (1.0,)})
    assert open_ledger.bins("taxi", "abc") == {"x": (0.0, math.inf)}


def test_verdict_comes_back_whole_and_by_night(open_ledger: Ledger) -> None:
    token = open_ledger.draw_token(replay(0, 1), "decide_retraining")
    for number, answer in ((0, "nothing"), (1, "wait")):
        open_ledger.write_verdict(RunKey("taxi", night(number)), token, verdict(answer))
    assert [row.verdict for row in open_ledger.verdicts("taxi")] == [verdict("nothing"), verdict("wait")]
    assert [row.answer for row in open_ledger.verdicts("taxi", before=night(1))] == ["nothing"]
    assert open_ledger.verdicts("taxi", kind="gate") == []


def test_request_is_closed_once(open_ledger: Ledger) -> None:
    token = open_ledger.draw_token(replay(0, 2), "decide_retraining")
    for number, answer in ((0, "retrain"), (1, "nothing"), (2, "retrain")):
        open_ledger.write_verdict(RunKey("taxi", night(number)), token, verdict(answer))
    open_ledger.write_verdict(RunKey("taxi", night(2), "restated"), token, verdict("retrain"))
    assert [row.as_of for row in open_ledger.open_requests("taxi")] == [night(0), night(2)]
    for _ in range(2):
        open_ledger.answer_request("taxi", night(0), "retrain 1", "promote")
    assert [row.as_of for row in open_ledger.open_requests("taxi")] == [night(2)]
    with pytest.raises(NightloopError, match="found retrain 1"):
        open_ledger.answer_request("taxi", night(0), "retrain 2", "keep")


def test_rerun_withdraws_a_request(open_ledger: Ledger) -> None:
    for answer in ("retrain", "nothing"):
        token = open_ledger.draw_token(replay(0), "decide_retraining")
        open_ledger.write_verdict(RunKey("taxi", night(0)), token, verdict(answer))
    assert open_ledger.open_requests("taxi") == []


def test_model_versions_count_up_under_concurrency(open_ledger: Ledger) -> None:
    digests = [f"d{number % 10}" for number in range(30)]
    with ThreadPoolExecutor(6) as pool:
        versions = dict(
            zip(digests, pool.map(lambda digest: open_ledger.register_model(model(digest)), digests), strict=True)
        )
    assert sorted(versions.values()) == list(range(1, 11))
    assert {row.digest: row.version for row in open_ledger.models("taxi")} == versions
    assert open_ledger.register_model(model("d3")) == versions["d3"]


def test_champion_holds_from_the_night_after_its_decision(open_ledger: Ledger) -> None:
    one, two = (open_ledger.register_model(model(digest)) for digest in ("d1", "d2"))
    open_ledger.change_champion("taxi", one, night(1), "gate", "first")
    open_ledger.change_champion("taxi", two, night(5), "gate", "better")
    champions = [open_ledger.champion("taxi", night(number)) for number in (1, 2, 5, 6)]
    assert [found and found.version for found in champions] == [None, one, one, two]


def test_last_change_of_a_night_counts_and_is_made_once(open_ledger: Ledger) -> None:
    one, two = (open_ledger.register_model(model(digest)) for digest in ("d1", "d2"))
    open_ledger.change_champion("taxi", one, night(1), "gate", "first")
    for _ in range(2):
        open_ledger.change_champion("taxi", two, night(1), "gate", "better")
    open_ledger.change_champion("taxi", one, night(1), "rollback", "worse")
    champion = open_ledger.champion("taxi", night(2))
    assert champion is not None
    assert champion.version == one
    assert [(row.from_version, row.version) for row in open_ledger.champion_history("taxi")] == [
        (None, one),
        (one, two),
        (two, one),
    ]


def test_unknown_model_never_becomes_champion(open_ledger: Ledger) -> None:
    open_ledger.register_model(model())
    with pytest.raises(NightloopError, match=r"expected one of \[1\], found 7"):
        open_ledger.change_champion("taxi", 7, night(1), "gate", "typo")


def test_audit_line_is_written_once(open_ledger: Ledger) -> None:
    for _ in range(2):
        open_ledger.write_audit("taxi", "promote", "gate", "better", "1", "2", night(1))
    assert [(row.from_, row.to, row.as_of) for row in open_ledger.audit("taxi")] == [("1", "2", night(1))]
