"""`train` a `tabular_net` on a lake's rows, or `hold` them all, as a process of its own: WHAT LAKE LEDGER WORK."""

import json
import sys
from pathlib import Path

import pyarrow as pa

from nightloop.folders.loading import load_use_case
from nightloop.loop.retraining.labelled_rows import features_ref, read_training_rows
from nightloop.run import Replay
from nightloop.settings import CHECKOUT
from nightloop.stores.lake.files import LakeFiles
from nightloop.stores.ledger.ledger import Ledger
from nightloop.training import net_training  # noqa: F401 - so that torch is among what is imported first
from nightloop.training.candidate import fit_candidate
from nightloop.training.dataset import prepare_rows
from nightloop.training.params import Recipe, TrainingParams
from nightloop.training.plan import PlannedCandidate
from tests.unit.training.wide_lake import CATEGORICAL, CUT, NIGHTS, NUMERIC, SCOPE, VERSION

TINY = {"epochs": 1, "width": 8, "blocks": 1, "members": 2, "number_width": 2, "bins": 4, "batch_rows": 2048}


def main(what: str, lake: LakeFiles, ledger: Ledger, work: Path) -> None:
    use_case = load_use_case(SCOPE, (CHECKOUT / "include",))
    recipe = Recipe(family="tabular_net", params=TINY)
    training = TrainingParams(window_days=365, judging_days=10, candidates=(recipe,), ranks=1, choose_ratio=0.1)
    use_case = use_case.model_copy(update={"training": training})
    planned = PlannedCandidate("net", recipe, NUMERIC, CATEGORICAL, VERSION)
    tell({"imported": True})
    if what == "hold":
        stored = lake.open(features_ref(use_case, planned), Replay(SCOPE, NIGHTS))
        tell({"rows": pa.Table.from_batches(stored.stream(planned.columns)).num_rows})
        return
    table, _ = read_training_rows(use_case, lake, ledger, planned, CUT, work)
    rows = prepare_rows(table, CUT, training.choose_ratio)
    fitted = fit_candidate(rows, planned, work / "fit", use_case.task, training)
    curve = [epoch["choose_loss"] for epoch in fitted.epochs]
    tell({"rows": table.num_rows, "bytes": table.nbytes, "choose_losses": curve})


def tell(document: dict[str, object]) -> None:
    sys.stdout.write(f"{json.dumps(document)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], LakeFiles(sys.argv[2]), Ledger.open(sys.argv[3]), Path(sys.argv[4]))
