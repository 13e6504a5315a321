"""A stored model is what was registered, or it is refused by its address; nothing of it is ever run."""

import gzip
import pickle
from pathlib import Path

import pytest
from onnx import TensorProto, helper

from nightloop.fault import NightloopError
from nightloop.stores.registry.model_files import digest_of, read_model


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (self.canary,)  # type: ignore[return-value]


@pytest.fixture
def model() -> bytes:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 1])
    score = helper.make_tensor_value_info("score", TensorProto.FLOAT, ["rows", 1])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["score"])], "one", [value], [score])
    return bytes(helper.make_model(graph).SerializeToString())


def test_an_untouched_model_is_read(model: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(model)
    assert read_model(str(path), digest_of(model)) == model
    assert read_model(path.as_uri(), digest_of(model)) == model


def test_one_changed_byte_anywhere_is_refused(model: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    for place in range(len(model)):
        path.write_bytes(model[:place] + bytes([model[place] ^ 1]) + model[place + 1 :])
        with pytest.raises(NightloopError, match="was changed after it was registered") as refusal:
            read_model(str(path), digest_of(model))
        assert str(path) in str(refusal.value)


@pytest.mark.parametrize(("protocol", "pack"), [(2, bytes), (5, bytes), (5, gzip.compress)])
def test_a_pickle_in_its_place_is_refused_and_never_run(
    protocol: int, pack: type[bytes], model: bytes, tmp_path: Path
) -> None:
    path, canary = tmp_path / "model.onnx", tmp_path / "canary"
    path.write_bytes(pack(pickle.dumps(Payload(canary), protocol)))
    with pytest.raises(NightloopError, match=r"a Python pickle|a gzip file") as refusal:
        read_model(str(path), digest_of(model))
    assert str(path) in str(refusal.value)
    with pytest.raises(NightloopError, match="expected an ONNX model"):
        read_model(str(path), digest_of(path.read_bytes()))
    assert not canary.exists()


def test_a_missing_model_says_what_to_do(model: bytes, tmp_path: Path) -> None:
    with pytest.raises(NightloopError, match="restore the artifacts, or roll back"):
        read_model(str(tmp_path / "model.onnx"), digest_of(model))
