"""Build an ONNX graph node by node; the same nodes in the same order give the same bytes."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# stated: by default they are the newest of the installed onnx, and an update would change the bytes of equal models
_OPSETS = (("", 18), ("ai.onnx.ml", 3))
_IR_VERSION = 9
_INT8_MOST = 127
BINARY = 2


class Graph:
    """Nodes, constants and inputs of one model under construction; values are passed by their names.

    A quantized one stores learned weights as int8.
    """

    def __init__(self, *, is_quantized: bool = False) -> None:
        self._is_quantized = is_quantized
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._inputs: list[Any] = []

    def add_input(self, name: str, kind: Literal["number", "text"]) -> str:
        """Declare one feature column, float32 or string of shape [N, 1]."""
        from onnx import TensorProto, helper

        element = TensorProto.FLOAT if kind == "number" else TensorProto.STRING
        self._inputs.append(helper.make_tensor_value_info(name, element, ["rows", 1]))
        return name

    def constant(self, value: Array | Sequence[int] | float | int) -> str:
        """Store an array (float64 becomes float32, integers int64) and return its name."""
        array = np.asarray(value)
        array = array.astype(np.float32) if array.dtype.kind == "f" else array
        array = array.astype(np.int64) if array.dtype.kind in "iu" else array
        return self._store(array)

    def weights(self, value: NDArray[np.float32]) -> str:
        """Store learned weights [rows, ...] and return their name; as int8 with a scale per row if quantized.

        Only what is stored is rounded: a row's score depends on no other row of its batch, as it would if activations
        were scaled by what a batch holds.
        """
        if not self._is_quantized:
            return self.constant(value)
        scales = np.abs(value.reshape(len(value), -1)).max(axis=1, initial=0.0) / _INT8_MOST
        scales = np.where(scales > 0, scales, 1.0).astype(np.float32)
        rounded = np.rint(value / scales.reshape(-1, *[1] * (value.ndim - 1))).astype(np.int8)
        return self.add("DequantizeLinear", self._store(rounded), self.constant(scales), axis=0)

    def add(self, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Append a node with one output and return the output's name."""
        from onnx import helper

        name = f"{operator.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, list(inputs), [name], name=name, domain=domain, **attributes))
        return name

    def _store(self, array: Array) -> str:
        from onnx import numpy_helper

        name = f"constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(array.copy(order="C"), name))
        return name

    def to_bytes(self, score: str, classes: int) -> bytes:
        """Close the graph with the output `score`: float32 [N], or [N, classes] where there are more than two."""
        from onnx import TensorProto, checker, helper

        self._nodes.append(helper.make_node("Identity", [score], ["score"], name="score"))
        shape: list[str | int | None] = ["rows"] if classes <= BINARY else ["rows", classes]
        output = helper.make_tensor_value_info("score", TensorProto.FLOAT, shape)
        graph = helper.make_graph(self._nodes, "nightloop", self._inputs, [output], self._constants)
        opsets = [helper.make_opsetid(domain, version) for domain, version in _OPSETS]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="nightloop")
        checker.check_model(model)
        return bytes(model.SerializeToString(deterministic=True))
