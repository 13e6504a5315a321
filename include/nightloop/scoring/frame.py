"""Score feature rows with an ONNX model inside Spark, batch by batch."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from nightloop.artifact import open_model
from nightloop.fault import Fault, NightloopError
from nightloop.scoring.params import ScoringParams

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.types import StructType


def score_frame(
    frame: "DataFrame",
    model: bytes,
    columns: Sequence[str],
    keep: Sequence[str],
    params: ScoringParams,
    *,
    is_binary: bool,
) -> "DataFrame":
    """Return the kept columns of a frame with `score` DOUBLE and `decision` INT.

    Memory does not grow with the rows: each Python worker holds the model and one batch. A multiclass model's score is
    the probability of the class it decides for; a regression decides nothing, so its decision is null.

    Raises:
        NightloopError: the model reads what the frame has not, or has of another type; nothing was scored yet.
    """
    from pyspark.sql.types import DoubleType, IntegerType, StructField, StructType

    assert_signature(model, columns, frame.schema)
    frame.sparkSession.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", params.batch_rows)
    kept = frame.select(*keep, *(name for name in columns if name not in keep))
    fields = [field for field in kept.schema if field.name in set(keep)]
    added = [StructField("score", DoubleType()), StructField("decision", IntegerType())]
    threshold = params.decision_threshold if is_binary else None
    return kept.mapInArrow(_make_scorer(model, tuple(keep), threshold), StructType([*fields, *added]))


def assert_signature(model: bytes, columns: Sequence[str], schema: "StructType") -> None:
    """Pass if these columns are the model's inputs, in any order, and the schema has each as text or as a number.

    Raises:
        NightloopError: with every input that differs.
    """
    from pyspark.sql.types import NumericType, StringType

    read = {
        entry.name: "text" if entry.type == "tensor(string)" else "a number" for entry in open_model(model).get_inputs()
    }
    types = {field.name: field.dataType for field in schema if field.name in columns}
    faults = []
    for name in sorted({*read, *columns}):
        expected, found = read.get(name, "nothing: the model does not read it"), types.get(name)
        is_met = isinstance(found, {"text": StringType, "a number": NumericType}.get(expected, ()))
        if not is_met:
            told = "no such column" if found is None else found.simpleString()
            faults.append(Fault(f"feature {name}", expected, told, "score the features that the model was trained on"))
    if faults:
        raise NightloopError(faults)


def _make_scorer(model: bytes, keep: tuple[str, ...], threshold: float | None) -> Any:
    """Return a function over Arrow batches that Spark ships by value: the server needs no package of ours."""

    def score_batches(batches: Iterator[Any]) -> Iterator[Any]:
        import numpy
        import onnxruntime
        import pyarrow

        options = onnxruntime.SessionOptions()
        # idle threads of its pool spin, beside as many Python workers as Spark has cores
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        for batch in batches:
            if batch.num_rows == 0:
                continue
            feed = {}
            for entry in session.get_inputs():
                column = batch.column(entry.name)
                if entry.type == "tensor(string)":
                    # a tensor of texts has no nulls, and no vocabulary holds the empty text
                    array = column.cast(pyarrow.string()).fill_null("").to_numpy(zero_copy_only=False).astype(object)
                else:
                    # what no float32 holds becomes infinite, which the model takes for missing
                    with numpy.errstate(over="ignore"):
                        array = column.cast(pyarrow.float64()).to_numpy(zero_copy_only=False).astype(numpy.float32)
                feed[entry.name] = array.reshape(-1, 1)
            scores = numpy.asarray(session.run(["score"], feed)[0], numpy.float64)
            decisions = pyarrow.nulls(batch.num_rows, pyarrow.int32())
            if scores.ndim > 1:
                decisions = pyarrow.array(scores.argmax(axis=1), pyarrow.int32())
                scores = scores.max(axis=1)
            elif threshold is not None:
                decisions = pyarrow.array(scores >= threshold).cast(pyarrow.int32())
            columns = [*(batch.column(name) for name in keep), pyarrow.array(scores), decisions]
            yield pyarrow.RecordBatch.from_arrays(columns, names=[*keep, "score", "decision"])

    return score_batches
