"""Reads the nodes and the constants of an ONNX file, and nothing else of it.

The `onnx` package reads the whole format and takes 40 MB of every worker's memory for it. `protobuf` is there already,
as onnxruntime and qdrant-client need it; it is told of the few fields that are wanted and passes over all others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

Array = NDArray[Any]

# Message, field, its number in https://github.com/onnx/onnx/blob/main/onnx/onnx.proto, type; * for several.
_FIELDS = """
Tensor    dims        1 int64*
Tensor    data_type   2 int32
Tensor    name        8 string
Tensor    raw_data    9 bytes
Attribute name        1 string
Attribute f           2 float
Attribute i           3 int64
Attribute t           5 Tensor
Node      input       1 string*
Node      output      2 string*
Node      op_type     4 string
Node      attribute   5 Attribute*
Node      domain      7 string
Graph     node        1 Node*
Graph     initializer 5 Tensor*
Model     graph       7 Graph
"""
_TYPES: Mapping[int, str] = {1: "<f4", 2: "|u1", 3: "|i1", 6: "<i4", 7: "<i8"}  # of tensors


@dataclass(frozen=True, kw_only=True)
class Node:
    """One operation: its kind, what it reads and makes, and its settings, numbers and constants alone."""

    kind: str  # with its domain before it, unless that is ONNX's own
    inputs: Sequence[str]
    outputs: Sequence[str]
    settings: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Graph:
    """The nodes in order, and the constants by name."""

    nodes: Sequence[Node]
    constants: Mapping[str, Array]


def read_graph(path: Path) -> Graph:
    """The graph in an ONNX file; raises ValueError where the file is none or keeps its constants in another way."""
    try:
        graph = _model().FromString(path.read_bytes()).graph
    except DecodeError as error:
        raise ValueError(f"{path} is no ONNX file") from error
    return Graph(
        nodes=[_node(node) for node in graph.node],
        constants={tensor.name: _array(tensor) for tensor in graph.initializer},
    )


@cache
def _model() -> Any:
    """The class of ONNX's outermost message, as far as `_FIELDS` goes."""
    field_type = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="akin_onnx.proto", package="akin")
    messages: dict[str, Any] = {}
    for message, name, number, kind in (line.split() for line in _FIELDS.strip().splitlines()):
        if message not in messages:
            messages[message] = file.message_type.add(name=message)
        field = messages[message].field.add(name=name, number=int(number))
        field.label = field_type.LABEL_REPEATED if kind.endswith("*") else field_type.LABEL_OPTIONAL
        plain = kind.rstrip("*")
        if plain in messages:
            field.type, field.type_name = field_type.TYPE_MESSAGE, f".akin.{plain}"
        else:
            field.type = getattr(field_type, f"TYPE_{plain.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("akin.Model"))


def _node(node: Any) -> Node:
    settings = {one.name: _array(one.t) if one.HasField("t") else one.f if one.HasField("f") else one.i
                for one in node.attribute}  # fmt: skip
    kind = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
    return Node(kind=kind, inputs=list(node.input), outputs=list(node.output), settings=settings)


def _array(tensor: Any) -> Array:
    if tensor.data_type not in _TYPES:
        raise ValueError(f"the constant {tensor.name} has a type that is not read")
    return np.frombuffer(tensor.raw_data, _TYPES[tensor.data_type]).reshape(list(tensor.dims))
