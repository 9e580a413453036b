"""Makes a graph smaller and faster with 8-bit weights. Embedding tables and everything but MatMul stay fp32.

Activations are quantized while the model runs, over one range per tensor, so a few channels with large values cost all
others their precision. The recipe `int8` therefore moves part of each channel's size from the activations into the
weights first (Xiao et al., SmoothQuant, arXiv 2211.10438, with the activations alone deciding the scale).
"""

import logging
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ingest.errors import ArtifactError

Ids = NDArray[np.int64]
Scales = NDArray[np.float32]

_SMOOTHING = 0.5  # exponent of the activations' size; docs/decisions/0003 has the sweep
_SMALLEST = 1e-3  # a channel that was never seen active is scaled as if it had been this large


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A way to store the weights, and the least mean cosine to fp32 that an export with it may have."""

    name: str
    quantized: bool
    smoothed: bool
    floor: float


RECIPES: Mapping[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(name="fp32", quantized=False, smoothed=False, floor=0.9999),
        Recipe(name="int8", quantized=True, smoothed=True, floor=0.99),
        Recipe(name="fast", quantized=True, smoothed=False, floor=0.985),
    )
}


def find_recipe(name: str) -> Recipe:
    """The recipe of that name; raises ArtifactError that lists the names there are."""
    if name not in RECIPES:
        raise ArtifactError(f"there is no recipe {name!r}; use one of {', '.join(RECIPES)}")
    return RECIPES[name]


def needs_reduced_range(cpu_info: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this processor's int8 products saturate in 16 bits: x86 without VNNI. Weights then keep 7 bits."""
    try:
        text = cpu_info.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return True  # unknown: 7 bits are right everywhere, only a little coarser
    flags = {flag for line in text.splitlines() if line.startswith("flags") for flag in line.split()}
    return bool(flags) and not flags & {"avx512_vnni", "avx_vnni"}


def quantize(source: Path, target: Path, recipe: Recipe, *, reduced_range: bool, calibration: Iterable[Ids]) -> None:
    """Write the graph at `source` to `target` with 8-bit MatMul weights, one scale per output channel.

    `calibration` are (1, tokens) id arrays of a few ordinary texts; only a smoothed recipe runs them.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory(prefix="akin-quantize-") as folder:
        smoothed = Path(folder) / "smoothed.onnx"
        if recipe.smoothed:
            model = onnx.load(source)
            _smooth(model, _channel_sizes(source, Path(folder), calibration))
            onnx.save(model, smoothed)
        # Its advice to run a preprocessing step and its note per skipped node help nobody who calls a recipe by name.
        previous = logging.root.manager.disable
        logging.disable(logging.WARNING)
        try:
            quantize_dynamic(
                smoothed if recipe.smoothed else source,
                target,
                op_types_to_quantize=["MatMul"],
                per_channel=True,
                reduce_range=reduced_range,
                weight_type=QuantType.QInt8,
                extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
            )
        finally:
            logging.disable(previous)


def _weighted_inputs(graph: "onnx.GraphProto") -> dict[str, list["onnx.NodeProto"]]:  # noqa: F821 - onnx is imported where it is used
    """MatMul nodes with constant weights, by the activation they read."""
    constants = {constant.name for constant in graph.initializer}
    nodes: dict[str, list[onnx.NodeProto]] = {}  # noqa: F821 - never evaluated
    for node in graph.node:
        if node.op_type == "MatMul" and node.input[1] in constants:
            nodes.setdefault(node.input[0], []).append(node)
    return nodes


def _channel_sizes(source: Path, folder: Path, calibration: Iterable[Ids]) -> dict[str, Scales]:
    """Largest magnitude of every channel of every MatMul input over the calibration texts."""
    import onnx
    import onnxruntime

    model = onnx.load(source)
    names = list(_weighted_inputs(model.graph))
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    onnx.save(model, folder / "observed.onnx")
    session = onnxruntime.InferenceSession(str(folder / "observed.onnx"), providers=["CPUExecutionProvider"])
    sizes: dict[str, Scales] = {}
    for ids in calibration:
        found = session.run(names, {"input_ids": ids, "attention_mask": np.ones_like(ids)})
        for name, values in zip(names, found, strict=True):
            largest = np.abs(values).reshape(-1, values.shape[-1]).max(axis=0)
            sizes[name] = np.maximum(sizes.get(name, np.float32(_SMALLEST)), largest)
    return sizes


def _smooth(model: "onnx.ModelProto", sizes: Mapping[str, Scales]) -> None:  # noqa: F821 - as above
    """Divide every MatMul input by a scale per channel and multiply the weights' rows by it: the product is unchanged."""
    from onnx import helper, numpy_helper

    graph = model.graph
    weights = {constant.name: constant for constant in graph.initializer}
    for name, nodes in _weighted_inputs(graph).items():
        scale = sizes[name] ** _SMOOTHING
        scale = (scale / np.exp(np.log(scale).mean())).astype(np.float32)
        factor, scaled = f"{name}_unscale", f"{name}_scaled"
        graph.initializer.append(numpy_helper.from_array(1 / scale, factor))
        position = min(row for row, node in enumerate(graph.node) if node.name in {node.name for node in nodes})
        graph.node.insert(position, helper.make_node("Mul", [name, factor], [scaled], name=f"{name}_smooth"))
        # Nodes may share their weights (tied layers): each gets its own copy, so that none is scaled twice.
        for number, node in enumerate(nodes):
            own = f"{node.input[1]}_{factor}_{number}"
            rows = numpy_helper.to_array(weights[node.input[1]]) * scale[:, None]
            graph.initializer.append(numpy_helper.from_array(rows.astype(np.float32), own))
            node.input[0], node.input[1] = scaled, own
    _drop_unused(graph)


def _drop_unused(graph: "onnx.GraphProto") -> None:  # noqa: F821 - as above
    used = {name for node in graph.node for name in node.input}
    kept = [constant for constant in graph.initializer if constant.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
