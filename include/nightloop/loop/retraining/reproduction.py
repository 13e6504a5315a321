"""`nightloop reproduce`: train a registered version again from its pins, and say how it compares."""

import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from nightloop.artifact import score_table
from nightloop.folders.use_case import UseCase
from nightloop.loop.retraining.labelled_rows import read_training_rows
from nightloop.loop.retraining.outcome import PINNED_PARAMS
from nightloop.settings import Settings
from nightloop.stores.lake.files import LakeFiles
from nightloop.stores.ledger.ledger import Ledger
from nightloop.stores.ledger.rows import ModelRow
from nightloop.stores.registry.model_files import read_model
from nightloop.training.candidate import fit_candidate
from nightloop.training.dataset import prepare_rows
from nightloop.training.plan import CHAMPION, read_recipe


@dataclass(frozen=True)
class Reproduction:
    """A version trained again: its rows and bytes then and now, and how far its scores are from the first ones.

    `erased_rows` is what the certificates of erasures say they took out of its training rows.
    """

    version: int
    rows_then: int
    rows_now: int
    erased_rows: int
    is_same_content: bool
    is_same_model: bool
    largest_difference: float

    @property
    def is_explained(self) -> bool:
        """Whether nothing differs but what erasures took away."""
        if self.erased_rows:
            return self.rows_then - self.rows_now == self.erased_rows
        return self.is_same_content and self.is_same_model

    def __str__(self) -> str:
        if self.is_same_content:
            rows = f"the same {self.rows_then:,} training rows"
        else:
            rows = f"{self.rows_now:,} training rows of {self.rows_then:,}"
        model = "the same bytes" if self.is_same_model else f"scores within {self.largest_difference:.3g}"
        told = f"version {self.version}: {rows}, {model}"
        if self.erased_rows and self.is_explained:
            return f"{told}; the difference is exactly the {self.erased_rows:,} rows that erasures removed"
        if self.erased_rows:
            return f"{told}; the certificates of erasures explain {self.erased_rows:,} rows, not all"
        return told


def reproduce_model(use_case: UseCase, version: int, settings: Settings, say: Callable[[str], None]) -> Reproduction:
    """Train a version again as its pins say: feature version, window, cut, choices, seed and ranks.

    Raises:
        NightloopError: there is no such version, or the lake no longer has its features or labels.
        TrainingError: a rank failed.
    """
    with (
        closing(Ledger.open(settings.ledger_url)) as ledger,
        TemporaryDirectory(prefix="nightloop-reproduce-") as folder,
    ):
        model = ledger.model(use_case.name, version)
        planned = read_recipe(CHAMPION, model.recipe, model.feature_version, is_champion=True)
        say(f"reading the training rows as of {model.as_of.isoformat()} …")
        lake, work = LakeFiles(settings.lake), Path(folder)
        table, pins = read_training_rows(use_case, lake, ledger, planned, model.as_of, work)
        pinned = {key: model.pins[key] for key in PINNED_PARAMS if key in model.pins}
        training = use_case.training.model_copy(update=pinned)
        rows = prepare_rows(table, model.as_of, training.choose_ratio, planned.recipe.half_life_days)
        say(f"fitting {planned.recipe.family} on {table.num_rows:,} rows …")
        fitted = fit_candidate(rows, planned, work / "fit", use_case.task, training, model.pins["choices"])
    first = score_table(read_model(model.uri, model.digest), table)
    difference = float(np.abs(first - score_table(fitted.model, table)).max())
    return Reproduction(
        version,
        model.pins["rows"],
        table.num_rows,
        _count_erased(settings.reports, model),
        pins["content"] == model.pins["content"],
        fitted.digest == model.digest,
        difference,
    )


def _count_erased(reports: Path, model: ModelRow) -> int:
    """Return how many training rows of a model the certificates of erasures name."""
    certificates = (json.loads(path.read_text()) for path in sorted(reports.glob("erasure/**/*.json")))
    held = (one for certificate in certificates for one in certificate["models"])
    return sum(one["rows"] for one in held if (one["use_case"], one.get("version")) == (model.scope, model.version))
