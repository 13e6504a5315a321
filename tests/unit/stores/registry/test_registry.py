"""Models: read by digest and never unpickled; logged once, registered once, shown as champion."""

import multiprocessing
import pickle
import warnings
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from nightloop.fault import NightloopError
from nightloop.run import RunKey
from nightloop.stores.registry.model_files import digest_of, read_model
from nightloop.stores.registry.registry import Registry

KEY = RunKey("taxi", datetime(2025, 1, 1, 2, tzinfo=UTC))


def build_model(slope: float) -> bytes:
    weights = helper.make_tensor("slope", TensorProto.FLOAT, [1], [slope])
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 1])
    scaled = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])
    graph = helper.make_graph([helper.make_node("Mul", ["x", "slope"], ["y"])], "line", [value], [scaled], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return model.SerializeToString()


@pytest.mark.parametrize("as_uri", [pytest.param(False, id="path"), pytest.param(True, id="file-uri")])
def test_model_is_read_from_where_it_lies(tmp_path: Path, as_uri: bool) -> None:
    path = tmp_path / "a model.onnx"
    path.write_bytes(build_model(2.0))
    assert read_model(path.as_uri() if as_uri else str(path), digest_of(build_model(2.0))) == build_model(2.0)


def test_model_is_read_from_s3(monkeypatch: pytest.MonkeyPatch) -> None:
    from moto import mock_aws

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import boto3

        client = boto3.client("s3")
        client.create_bucket(Bucket="models")
        client.put_object(Bucket="models", Key="taxi/model.onnx", Body=build_model(2.0))
        assert read_model("s3://models/taxi/model.onnx", digest_of(build_model(2.0))) == build_model(2.0)
        with pytest.raises(NightloopError, match="found NoSuchKey"):
            read_model("s3://models/taxi/other.onnx", "0")


@pytest.mark.parametrize(
    ("content", "digest", "message"),
    [
        pytest.param(build_model(2.0)[:-1] + b"!", digest_of(build_model(2.0)), "expected sha256", id="tampered"),
        pytest.param(pickle.dumps({}), digest_of(pickle.dumps({})), "found a Python pickle", id="pickle"),
        pytest.param(b"PK\x03\x04..", digest_of(b"PK\x03\x04.."), "found a zip archive", id="zip"),
        pytest.param(b"", digest_of(b""), "found an empty file", id="empty"),
    ],
)
def test_model_that_is_not_the_registered_one_is_refused(
    tmp_path: Path, content: bytes, digest: str, message: str
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(NightloopError, match=message):
        read_model(str(path), digest)


def test_missing_model_and_strange_address_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NightloopError, match="expected a file"):
        read_model(str(tmp_path / "none.onnx"), "0")
    with pytest.raises(NightloopError, match="found http://"):
        read_model("http://host/model.onnx", "0")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_candidate_is_logged_registered_and_shown_as_champion(tmp_path: Path) -> None:
    import mlflow
    from mlflow import MlflowClient

    tracking = f"sqlite:///{tmp_path}/mlflow.db"
    registry = Registry(tracking, str(tmp_path / "artifacts"))
    epochs = [{"train_loss": 2.0}, {"train_loss": 1.0}]

    def log(slope: float):  # type: ignore[no-untyped-def]
        return registry.log_candidate(
            KEY, "linear", build_model(slope), params={"rate": 0.1}, epochs=epochs, figures={"auc": 0.7}
        )

    first, again, other = log(2.0), log(2.0), log(3.0)
    assert first == again
    assert first.page == "", "a database has no web page"
    assert registry.read_model(other.uri, other.digest) == build_model(3.0)
    for logged in (first, other, other):
        assert registry.register(KEY, logged, '{"family": "linear"}') == logged.uri
    with pytest.raises(NightloopError, match="expected a version with digest 0"):
        registry.set_champion_alias("taxi", "0")
    registry.set_champion_alias("taxi", other.digest)

    client = MlflowClient(tracking, tracking)
    assert [step.value for step in client.get_metric_history(first.run_id, "train_loss")] == [2.0, 1.0]
    assert client.get_run(first.run_id).data.tags["nightloop.superseded"] == "true"
    assert client.get_run(other.run_id).data.params == {"rate": "0.1"}
    assert len(client.search_model_versions("name = 'taxi'")) == 2
    mlflow.set_registry_uri(tracking)
    mlflow.set_tracking_uri(tracking)
    loaded = mlflow.onnx.load_model("models:/taxi@champion")
    assert loaded == onnx.load_model_from_string(build_model(3.0))


def log_a_candidate(home: str, number: int) -> str:
    """Log one candidate with sixty epochs; one of several processes that do so at once."""
    registry = Registry(f"sqlite:///{home}/mlflow.db", f"{home}/artifacts")
    epochs = [{"train_loss": float(60 - epoch)} for epoch in range(60)]
    figures = {f"figure_{place}": 0.5 for place in range(30)}
    params = {f"param_{place}": place for place in range(200)}
    model = build_model(float(number))
    logged = registry.log_candidate(KEY, f"candidate-{number}", model, params=params, epochs=epochs, figures=figures)
    registry.register(KEY, logged, "{}")
    return logged.run_id


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_writers_at_once_lose_nothing_to_a_locked_database(tmp_path: Path) -> None:
    from mlflow import MlflowClient

    Registry(f"sqlite:///{tmp_path}/mlflow.db", str(tmp_path)).trainings("taxi")  # the server has made its tables
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as pool:
        runs = list(pool.map(log_a_candidate, [str(tmp_path)] * 4, range(4)))
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db", f"sqlite:///{tmp_path}/mlflow.db")
    for run_id in runs:
        losses = [step.value for step in client.get_metric_history(run_id, "train_loss")]
        assert losses == [float(60 - epoch) for epoch in range(60)], "also the last epoch's"
        run = client.get_run(run_id)
        assert (run.info.status, len(run.data.params), run.data.metrics["figure_29"]) == ("FINISHED", 200, 0.5)
    assert len(client.search_model_versions("name = 'taxi'")) == 4
