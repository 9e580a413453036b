"""Finds the matrix products (matmuls) with constant weights in a graph, and stores their weights in blocks."""

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from ingest.encoder.nodes import CONTRIB, add_constant, prune, use_operators


@dataclass(frozen=True, kw_only=True)
class Product:
    """A MatMul, or the merged query, key and value product inside an Attention, with weights `(k, n)`."""

    node: onnx.NodeProto
    weights: NDArray[np.float32]

    @property
    def input(self) -> str:
        """The activation it reads."""
        return str(self.node.input[0])


def find_products(graph: onnx.GraphProto) -> list[Product]:
    """All products of the graph that have constant weights, in order."""
    constants = {constant.name: constant for constant in graph.initializer}
    found = []
    for node in graph.node:
        if node.op_type in {"MatMul", "Attention"} and node.input[1] in constants:
            weights = numpy_helper.to_array(constants[node.input[1]])
            # The projection of the finished vector is one row a text: nothing to win there, and much to lose.
            if weights.ndim == 2 and node.name != "akin_projected":  # noqa: PLR2004 - rows and columns
                found.append(Product(node=node, weights=weights.astype(np.float32)))
    return found


def to_blocks(model: onnx.ModelProto, size: int) -> None:
    """Store the weights of every product, in place, as uint8 with a scale and a zero for each `size` of a column.

    Inputs and results stay fp32. Weights whose rows do not fill blocks stay as they are.
    """
    graph = model.graph
    for product in find_products(graph):
        k, n = product.weights.shape
        if k % size:
            continue
        blocks = product.weights.T.reshape(n, k // size, size)
        low, high = np.minimum(blocks.min(axis=2), 0), np.maximum(blocks.max(axis=2), 0)
        scales = np.maximum((high - low) / 255, 1e-12).astype(np.float32)
        zeros = np.clip(np.round(-low / scales), 0, 255).astype(np.uint8)
        whole = np.clip(np.round(blocks / scales[..., None]) + zeros[..., None], 0, 255).astype(np.uint8)
        own = f"{product.node.output[0]}_blocks"
        names = [
            add_constant(graph, own, whole),
            add_constant(graph, f"{own}_scale", scales.reshape(n, -1)),
            add_constant(graph, f"{own}_zero", zeros.reshape(n, -1)),
        ]
        attributes = {"K": k, "N": n, "bits": 8, "block_size": size, "accuracy_level": 0}
        product.node.CopyFrom(
            helper.make_node(
                "MatMulNBits", [product.input, *names], list(product.node.output), own, domain=CONTRIB, **attributes
            )
        )
    prune(graph)
    use_operators(model, CONTRIB, 1)
