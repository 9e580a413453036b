"""Finds a quantized BERT in the graph of an artifact: which constants are which, provided that nothing else is there.

Kernels that leave out a node would give other vectors without a word, so each node must be one that is known here.
"""

import numpy as np

from ingest.encoder.kernels.bert import (
    Bert,
    Bytes,
    Floats,
    Layer,
    Norm,
    Product,
    UnknownModelError,
    check_sizes,
)
from ingest.encoder.kernels.onnx_file import Array, Graph, Node

_WHOLE = "com.microsoft.MatMulIntegerToFloat"
_GELU = "com.microsoft.Gelu"  # the exact one


def find_bert(graph: Graph) -> Bert:
    """The model; raises UnknownModelError where the graph has, or lacks, anything else."""
    try:
        found = _Search(graph).bert()
        check_sizes(found)
    except (LookupError, TypeError, ValueError) as error:
        raise UnknownModelError(str(error)) from error
    return found


class _Search:
    """Goes from the vector back to the tables, and keeps what it has seen."""

    def __init__(self, graph: Graph) -> None:
        self._nodes = graph.nodes
        self._constants = graph.constants
        self._makers = {output: node for node in graph.nodes for output in node.outputs}
        self._seen: set[str] = set()  # first outputs
        self._slices = 0

    def bert(self) -> Bert:
        whole, directions = self._projection("vector")
        hidden, first_token = self._pooling(self._unit(whole))
        layers: list[Layer] = []
        heads: set[int] = set()
        while (found := self._layer(hidden, last=first_token and not layers, heads=heads)) is not None:
            layer, hidden = found
            layers.insert(0, layer)
        embedded, summed = self._norm(hidden)
        words, positions = self._tables(summed)
        left = [node.kind for node in self._nodes if node.kind != "Constant" and node.outputs[0] not in self._seen]
        if left or len(heads) != 1:
            raise UnknownModelError(f"{', '.join(sorted(set(left))) or 'heads'} at an unknown place")
        return Bert(
            words=words,
            positions=positions,
            embedded=embedded,
            layers=layers,
            heads=heads.pop(),
            first_token=first_token,
            directions=directions,
        )

    def _node(self, name: str, *kinds: str) -> Node:
        """The node that makes `name`, which must be of one of the kinds."""
        node = self._makers.get(name)
        if node is None or node.kind not in kinds:
            raise UnknownModelError(f"{name} comes from {node.kind if node else 'nothing'}, not from {kinds[0]}")
        self._seen.add(node.outputs[0])
        return node

    def _makes(self, name: str, kind: str) -> bool:
        return name in self._makers and self._makers[name].kind == kind

    def _constant(self, name: str) -> Array:
        if name in self._constants:
            return self._constants[name]
        return np.asarray(self._node(name, "Constant").settings["value"])

    def _floats(self, name: str) -> Floats:
        return self._typed(name, np.float32)

    def _typed(self, name: str, kind: type[np.generic]) -> Array:
        found = self._constant(name)
        if found.dtype != kind:
            raise UnknownModelError(f"{name} is of the type {found.dtype}")
        return found

    def _all_before(self, name: str, kinds: set[str], given: str) -> list[Array]:
        """The constants that `name` is made of beside the input `given`, by nodes of those kinds alone."""
        if name == given:
            return []
        if name in self._constants or self._makes(name, "Constant"):
            return [self._constant(name)]
        node = self._node(name, *sorted(kinds))
        return [found for one in node.inputs for found in self._all_before(one, kinds, given)]

    def _projection(self, name: str) -> tuple[str, Floats | None]:
        """The name of the whole unit vector, and what it is projected onto."""
        projected = self._node(name, "Div").inputs[0]
        if not self._makes(projected, "MatMul"):
            return name, None
        whole, directions = self._node(self._unit(name), "MatMul").inputs
        return whole, self._floats(directions)

    def _unit(self, name: str) -> str:
        """What is divided by its length."""
        given, length = self._node(name, "Div").inputs
        norm = self._node(self._node(length, "Max").inputs[0], "ReduceL2")
        self._along(norm.inputs[1], 1)
        return self._same(norm.inputs[0], given)

    def _along(self, name: str, axis: int) -> None:
        if self._typed(name, np.int64).reshape(-1).tolist() != [axis]:
            raise UnknownModelError(f"sums along another axis than {axis}")

    def _pooling(self, name: str) -> tuple[str, bool]:
        """The hidden states, and whether the first token's are taken, or else the mean."""
        if self._makes(name, "Gather"):
            node = self._node(name, "Gather")
            if self._constant(node.inputs[1]).any() or node.settings.get("axis") != 1:
                raise UnknownModelError("a vector is that of another token than the first")
            return self._all_tokens(node.inputs[0]), True
        total, count = self._node(name, "Div").inputs
        summed = self._node(total, "ReduceSum")
        self._along(summed.inputs[1], 1)
        weighted = self._node(summed.inputs[0], "Mul")
        for counted in (count, weighted.inputs[1]):
            self._all_before(counted, {"Cast", "Unsqueeze", "ReduceSum", "Max"}, "attention_mask")
        return weighted.inputs[0], False

    def _all_tokens(self, name: str) -> str:
        """What the first token alone is taken of, or `name` itself."""
        if not self._makes(name, "Slice"):
            return name
        given, begin, end, axis = self._node(name, "Slice").inputs
        if [int(self._constant(one).item()) for one in (begin, end, axis)] != [0, 1, 1]:
            raise UnknownModelError("other tokens than the first are taken")
        self._slices += 1
        return given

    def _norm(self, name: str) -> tuple[Norm, str]:
        node = self._node(name, "LayerNormalization")
        if node.settings.get("axis", -1) not in (-1, 2):
            raise UnknownModelError("an axis other than the last is normalised")
        given, weight, bias = node.inputs
        epsilon = float(node.settings.get("epsilon", 1e-5))
        return Norm(weight=self._floats(weight), bias=self._floats(bias), epsilon=epsilon), given

    def _product(self, name: str) -> tuple[Product, str]:
        """The product, and what it reads as floats."""
        node = self._node(name, _WHOLE)
        given, weights, step, scale, zero, *rest = node.inputs
        whole = self._typed(weights, np.int8)
        zeros, bias = [*rest, "", ""][:2]
        if zeros and self._constant(zeros).any():
            raise UnknownModelError("weights have a zero of their own")
        read, floats = self._bytes(given)
        if (read.step, read.zero) != (self._step(step), self._zero(zero)):
            raise UnknownModelError("a product reads bytes of another scale")
        return Product(
            weights=whole,
            scale=np.broadcast_to(self._floats(scale), whole.shape[1:]),
            bias=self._floats(bias) if bias else np.zeros(whole.shape[1:], np.float32),
            read=read,
        ), floats

    def _bytes(self, name: str) -> tuple[Bytes, str]:
        name = self._all_tokens(name)
        given, step, zero = self._node(name, "QuantizeLinear").inputs
        size = self._step(step)
        factor: Floats = np.ones((), np.float32)
        given = self._all_tokens(given)
        if self._makes(given, "Mul"):
            given, even = self._node(given, "Mul").inputs
            factor = self._floats(even)
        factor = np.asarray(factor / np.float32(size), np.float32)
        return Bytes(made_by=name, factor=factor, step=size, zero=self._zero(zero)), self._all_tokens(given)

    def _step(self, name: str) -> float:
        return float(self._floats(name).reshape(()))

    def _zero(self, name: str) -> int:
        return int(self._typed(name, np.uint8).reshape(()))

    def _sum(self, name: str) -> tuple[str, str]:
        """The result of a product, and what it is added to."""
        one, other = (self._all_tokens(given) for given in self._node(self._all_tokens(name), "Add").inputs)
        return (one, other) if self._makes(one, _WHOLE) else (other, one)

    def _layer(self, name: str, *, last: bool, heads: set[int]) -> tuple[Layer, str] | None:
        """The layer that makes `name`, and the name of what it reads; None where the embedding tables are next."""
        before = self._makers[self._makers[name].inputs[0]]
        if not any(self._makes(one, _WHOLE) for one in before.inputs):
            return None
        slices = self._slices
        narrowed, summed = self._norm(name)
        (narrow, wide), middle = self._narrow(summed)
        widen, read = self._product(self._all_tokens(self._node(self._all_tokens(wide), _GELU).inputs[0]))
        mixed, summed = self._norm(self._same(middle, read))
        result, hidden = self._sum(summed)
        mix, attended = self._product(result)
        node = self._node(self._all_tokens(attended), "Attention")
        query_of, key_of, value_of = node.inputs
        query, given = self._product(self._all_tokens(query_of))
        self._same(given, hidden)
        if self._slices > slices and not last:
            raise UnknownModelError("the first token is taken before the last layer")
        slices = self._slices
        (key, _), (value, _) = self._product(key_of), self._product(value_of)
        if self._slices > slices:
            raise UnknownModelError("keys or values are those of the first token")
        heads.add(self._heads(node))
        size = query.weights.shape[1] // self._heads(node)
        return Layer(
            attention=(query, key, value),
            scale=float(node.settings.get("scale", 0)) or size**-0.5,
            mix=mix,
            mixed=mixed,
            widen=widen,
            narrow=narrow,
            narrowed=narrowed,
        ), hidden

    def _heads(self, node: Node) -> int:
        """How many an attention has that does nothing else than the kernels do."""
        settings = dict(node.settings)
        heads = settings.pop("q_num_heads")
        settings.pop("scale", None)
        if settings.pop("kv_num_heads") != heads or any(settings.values()):
            raise UnknownModelError("an attention with settings of its own")
        return int(heads)

    def _narrow(self, summed: str) -> tuple[tuple[Product, str], str]:
        result, middle = self._sum(summed)
        return self._product(result), middle

    def _same(self, one: str, other: str) -> str:
        if one != other:
            raise UnknownModelError(f"{one} is expected in the place of {other}")
        return one

    def _tables(self, name: str) -> tuple[Floats, Floats]:
        """Words, and positions with the first token type added: what is summed up under `name`."""
        found: dict[str, Floats] = {}
        waiting = [name]
        while waiting:
            one = waiting.pop()
            if self._makes(one, "Add"):
                waiting.extend(self._node(one, "Add").inputs)
                continue
            node = self._node(one, "Gather")
            kind, table = self._table(*node.inputs)
            if node.settings.get("axis", 0) or kind in found:
                raise UnknownModelError(f"a second table of {kind}, or columns of one")
            found[kind] = table
        words, positions = found["words"], found["positions"]
        first_type = found.get("types", np.zeros((1, words.shape[1]), np.float32))[:1]
        if first_type.shape != (1, words.shape[1]):
            raise UnknownModelError(f"a table of types of the shape {first_type.shape}")
        return words, positions + first_type

    def _table(self, table: str, index: str) -> tuple[str, Floats]:
        """What a table is of, and its rows: all words, all token types, or as many positions as count up."""
        if index == "input_ids":
            return "words", self._floats(table)
        if self._makes(index, "Sub"):
            self._same(*self._node(index, "Sub").inputs)
            return "types", self._floats(table)
        counted, start, end, axis, step = self._node(index, "Slice").inputs
        places = self._constant(counted).reshape(-1)
        length = self._node(self._node(end, "Unsqueeze").inputs[0], "Gather")
        self._same(self._node(length.inputs[0], "Shape").inputs[0], "input_ids")
        bounds = [int(self._constant(one).item()) for one in (start, axis, step, length.inputs[1])]
        if bounds != [0, 1, 1, 1] or not np.array_equal(places, np.arange(len(places))):
            raise UnknownModelError("positions that do not count up from 0")
        return "positions", self._floats(table)[: len(places)]
