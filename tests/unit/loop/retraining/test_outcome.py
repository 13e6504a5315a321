"""How a retraining ends: by the verdicts alone, or by a person's answer as well."""

from datetime import UTC, datetime

import pytest

from nightloop.fault import NightloopError
from nightloop.folders.loading import load_use_case
from nightloop.folders.use_case import UseCase
from nightloop.loop.retraining.outcome import Approval, outcome_of, read_approval
from nightloop.settings import CHECKOUT
from nightloop.stores.ledger.rows import ChampionRow
from nightloop.verdict import Verdict

PROMOTE, KEEP = Verdict("loans", "promote", "better"), Verdict("loans", "keep", "worse")
AGREE = Verdict("loans", "agree", "like its twin", facts={"model_version": "4"})
DIFFER = Verdict("loans", "differ", "unlike its twin")


@pytest.fixture
def use_case() -> UseCase:
    packaged = load_use_case("loan_default", [CHECKOUT / "include"])
    promotion = packaged.promotion.model_copy(update={"approval": "human"})
    return packaged.model_copy(update={"promotion": promotion})


def test_both_verdicts_promote_by_themselves() -> None:
    found = outcome_of(PROMOTE, AGREE, None)
    assert (found.answer, found.version, found.actor) == ("promote", 4, "gate")


@pytest.mark.parametrize(("gate", "refit"), [(KEEP, None), (PROMOTE, DIFFER)])
def test_either_verdict_keeps_the_champion(gate: Verdict, refit: Verdict | None) -> None:
    found = outcome_of(gate, refit, None)
    assert (found.answer, found.version) == ("keep", None)


def test_a_person_decides_and_is_named() -> None:
    given = outcome_of(PROMOTE, AGREE, Approval(is_given=True, by="ann"))
    assert (given.answer, given.version, given.actor) == ("promote", 4, "ann")
    refused = outcome_of(PROMOTE, AGREE, Approval(is_given=False, by="bob"))
    assert (refused.answer, refused.version, refused.actor) == ("keep", None, "bob")
    assert "version 4 was rejected by bob" in refused.reason


def test_a_change_of_champion_since_the_gate_judged_stands() -> None:
    def change(version: int) -> ChampionRow:
        return ChampionRow(
            "loans", version, 3, datetime(2025, 1, 1, tzinfo=UTC), "rollback_champion by ann", "too high"
        )

    found = outcome_of(PROMOTE, AGREE, Approval(is_given=True, by="bob"), [change(2)])
    assert (found.answer, found.version) == ("keep", None)
    assert found.reason.startswith("version 2 became champion by rollback_champion by ann after the gate had judged")
    again = outcome_of(PROMOTE, AGREE, None, [change(4), change(2)])
    assert (again.answer, again.version) == ("promote", 4)


def test_the_answer_is_read_where_it_is_asked_for(use_case: UseCase) -> None:
    assert read_approval(use_case, {"approval": "Approve", "approved_by": "ann"}) == Approval(is_given=True, by="ann")
    late = read_approval(use_case, {"approval": "Reject", "approved_by": ""})
    assert late is not None
    assert (late.is_given, late.by) == (False, "nobody, within the time to answer")
    by_itself = use_case.model_copy(update={"promotion": use_case.promotion.model_copy(update={"approval": "auto"})})
    assert read_approval(by_itself, {}) is None


@pytest.mark.parametrize("answer", ["", "yes", "approve"])
def test_no_answer_promotes_nothing(answer: str, use_case: UseCase) -> None:
    with pytest.raises(NightloopError, match="expected Approve or Reject"):
        read_approval(use_case, {"approval": answer})
