"""The harness pairs its measurements and writes what a reader needs to judge them."""

import json
from pathlib import Path

import pytest

from benchmarks.harness import Spread, measure_pairs, write_result


def test_sides_alternate_and_the_ratio_is_taken_within_pairs() -> None:
    order: list[str] = []
    pairs = measure_pairs(lambda: order.append("ours"), lambda: order.append("theirs"), warm_ups=0)
    assert order == ["ours", "theirs", "theirs", "ours"] * 2 + ["ours", "theirs"]
    assert pairs.ratio.runs == 5


def test_fewer_than_five_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 5 pairs"):
        measure_pairs(lambda: None, lambda: None, pairs=4)


def test_result_holds_ratios_versions_and_machine(tmp_path: Path) -> None:
    path = write_result("x", ratios={"a over b": Spread.of([1.0, 2.0, 4.0])}, folder=tmp_path)
    document = json.loads(path.read_text())
    assert document["ratios"]["a over b"] == {"median": 2.0, "least": 1.0, "most": 4.0, "runs": 3}
    assert document["versions"]["pyspark"] == "4.2.0"
    assert document["machine"]["cores"] >= 1
