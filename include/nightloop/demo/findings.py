"""Read back what a chapter of the demo did: from the ledger and the lake, never from the demo's own memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from nightloop.dataset import DatasetRef
from nightloop.folders.use_case import UseCase
from nightloop.run import MAIN_VARIANT, format_night

if TYPE_CHECKING:
    import pyarrow as pa

    from nightloop.stores.ledger.ledger import Ledger
    from nightloop.stores.ledger.rows import ModelRow, VerdictRow
    from nightloop.stores.registry.registry import Registry


@dataclass(frozen=True)
class Findings:
    """One use case as its ledger and lake tell it."""

    use_case: UseCase
    ledger: "Ledger"
    registry: "Registry"
    lake_root: str

    def verdict(self, as_of: datetime) -> "VerdictRow":
        return next(row for row in self.ledger.verdicts(self.use_case.name) if row.as_of == as_of)

    def champion(self, as_of: datetime) -> "ModelRow | None":
        return self.ledger.champion(self.use_case.name, as_of)

    def performance(self, first: datetime, last: datetime) -> dict[str, float]:
        """Return the promotion metric of each scored night whose labels matured in [first, last], by night."""
        rows = self.ledger.metrics(self.use_case.name, first, last)
        wanted = [row for row in rows if row.metric == self.use_case.promotion.metric]
        return {format_night(row.cohort_as_of): round(row.value, 4) for row in wanted}

    def counts(self, first: datetime, last: datetime) -> dict[str, int]:
        """Return rows in and quarantined over all sources of the use case, and rows scored."""
        rows = [row for source in self.use_case.sources for row in self.ledger.counts(source, first, last)]
        cleaned = [row.counts for row in rows if row.job == "clean_source"]
        return {
            "rows_in": sum(counts["received"] for counts in cleaned),
            "quarantined": sum(counts["quarantined"] for counts in cleaned),
            "scored": self._read(DatasetRef("scores", self.use_case.name)).num_rows,
        }

    def compare(self, cohort: datetime, models: "Sequence[ModelRow]") -> dict[int, float]:
        """Return the promotion metric of several models on the same matured rows of one night, by version."""
        from nightloop.artifact import score_table
        from nightloop.evaluation.metrics import compute_metric

        night = format_night(cohort)
        labels = self._read(DatasetRef("labels", self.use_case.name), ("cohort", "=", night))
        labels = labels.select(["row_id", "label"]).drop_null()
        figures = {}
        for model in models:
            ref = DatasetRef("features", self.use_case.name, model.feature_version)
            rows = self._read(ref, ("night", "=", night)).join(labels, "row_id", join_type="inner")
            scores = score_table(self.registry.read_model(model.uri, model.digest), rows)
            figures[model.version] = compute_metric(self.use_case.promotion.metric, rows["label"].to_numpy(), scores)
        return figures

    def _read(self, ref: DatasetRef, *conditions: tuple[str, str, str]) -> "pa.Table":
        from deltalake import DeltaTable

        table = DeltaTable(f"{self.lake_root}/{ref.path}")
        return table.to_pyarrow_table(filters=[("variant", "=", MAIN_VARIANT), *conditions])
