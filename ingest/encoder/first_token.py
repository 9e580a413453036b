"""Where a vector is that of a text's first token, the last layer computes what that token needs, and no more.

Behind the last attention every token goes its own way, and what becomes of the others is never read. They are left out
from that attention's queries on; its keys and values are still those of all tokens. The results stay the same.
"""

import numpy as np
import onnx

from ingest.encoder.graph import POOLED
from ingest.encoder.nodes import add_constant, attributes_of, constants_of, make_node, makers_of, prune, readers_of

_ALIKE = {"Add", "Mul", "Div", "Erf", "Gelu", "LayerNormalization", "QuantizeLinear"}  # treat each token by itself
_PRODUCTS = {"MatMul", "MatMulNBits", "MatMulIntegerToFloat"}  # and these, where their second input is a constant
_QUERY_KEY_VALUE = 3
_TOKENS = 1  # the axis of hidden states (texts, tokens, width)


def keep_first_token(graph: onnx.GraphProto) -> None:
    """Leave out the other tokens as early as can be, in place; nothing where vectors are pooled in another way."""
    if makers_of(graph)[POOLED].op_type != "Gather":
        return
    constants = _constants(graph)
    alone = _alone(graph, constants)
    bounds = {"begin": 0, "end": 1, "axis": _TOKENS}
    given = [add_constant(graph, f"akin_first_{name}", np.array([value])) for name, value in bounds.items()]
    sliced: dict[str, str] = {}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        for place in _of_tokens(node) if node.output[0] in alone else ():
            name = node.input[place]
            if name in constants or name in alone:
                continue
            if name not in sliced:
                sliced[name] = f"{name}_first"
                nodes.append(make_node("Slice", [name, *given], sliced[name]))
            node.input[place] = sliced[name]
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    prune(graph)


def _alone(graph: onnx.GraphProto, constants: set[str]) -> set[str]:
    """The results of which nothing but the first token's row is read, each made from the same row of what is before."""
    readers = readers_of(graph)
    alone = {POOLED}
    for node in reversed(graph.node):
        name = node.output[0]
        behind = readers.get(name, [])
        only_first = all(one.output[0] in alone and name not in _of_all_tokens(one) for one in behind)
        if behind and only_first and _by_token(node, constants):
            alone.add(name)
    return alone - {POOLED}


def _by_token(node: onnx.NodeProto, constants: set[str]) -> bool:
    if node.op_type in _PRODUCTS:
        return node.input[1] in constants
    if node.op_type == "Attention":
        # ONNX's own, over queries, keys and values; where tokens look back only, the first would see just itself.
        causal = attributes_of(node).get("is_causal", 0)
        return not node.domain and len(node.input) == _QUERY_KEY_VALUE and not causal
    if node.op_type == "LayerNormalization" and attributes_of(node).get("axis", -1) not in (-1, _TOKENS + 1):
        return False
    return node.op_type in _ALIKE


def _of_tokens(node: onnx.NodeProto) -> range:
    """The places of what a node takes of the same token: of an attention, its queries alone."""
    return range(1 if node.op_type == "Attention" else len(node.input))


def _of_all_tokens(node: onnx.NodeProto) -> set[str]:
    return {*node.input[_of_tokens(node).stop :]}


def _constants(graph: onnx.GraphProto) -> set[str]:
    """What does not depend on a text: the graph's constants, and what is made of nothing else."""
    found = {"", *constants_of(graph)}
    for node in graph.node:
        if found.issuperset(node.input):
            found.update(node.output)
    return found
