"""Read back what a chapter of the demo did: from the ledger and the lake, never from the demo's own memory."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from nightloop.dataset import DatasetRef
from nightloop.run import format_night
from nightloop.use_case import UseCase

if TYPE_CHECKING:
    import pyarrow as pa

    from nightloop.stores.ledger import Ledger, ModelRow, VerdictRow
    from nightloop.stores.registry import Registry


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

    def performance(self, cohort: datetime) -> float | None:
        """The promotion metric of the scores given in one night, once its labels have matured."""
        rows = self.ledger.metrics(self.use_case.name, cohort, cohort.replace(year=cohort.year + 3))
        values = [r.value for r in rows if r.cohort_as_of == cohort and r.metric == self.use_case.promotion.metric]
        return values[-1] if values else None

    def counts(self, first: datetime, last: datetime) -> dict[str, int]:
        """Rows in and quarantined over all sources of the use case, and rows scored."""
        rows = [row for source in self.use_case.sources for row in self.ledger.counts(source, first, last)]
        return {
            "rows_in": sum(row.received for row in rows),
            "quarantined": sum(row.quarantined for row in rows),
            "scored": self._table(DatasetRef("scores", self.use_case.name)).num_rows,
        }

    def compare(self, cohort: datetime, models: "list[ModelRow]") -> dict[int, float]:
        """The promotion metric of several models on the same matured rows of one night."""
        from nightloop.evaluation.metrics import evaluate
        from nightloop.scoring.onnx import predict

        labels = self._table(DatasetRef("labels", self.use_case.name)).select(["row_id", "cohort", "label"])
        labels = labels.filter(_equals(labels, "cohort", format_night(cohort))).select(["row_id", "label"]).drop_null()
        figures = {}
        for model in models:
            features = self._table(DatasetRef("features", self.use_case.name, model.feature_version))
            rows = features.join(labels, "row_id", join_type="inner")
            scores = predict(self.registry.read_model(model.uri, model.digest), rows, self.use_case.features)
            metric = self.use_case.promotion.metric
            figures[model.version] = evaluate(self.use_case.task, rows["label"].to_numpy(), scores)[metric]
        return figures

    def _table(self, ref: DatasetRef) -> "pa.Table":
        from deltalake import DeltaTable

        return DeltaTable(f"{self.lake_root}/{ref.path}").to_pyarrow_table(filters=[("variant", "=", "main")])


def _equals(table: "pa.Table", column: str, value: str) -> "pa.ChunkedArray":
    import pyarrow.compute as pc

    return pc.equal(table[column], value)
