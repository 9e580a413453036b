"""Makes a graph smaller and faster with 8-bit weights.

Only products with constant weights change; embedding tables and everything else stay fp32.
"""

import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest.errors import ArtifactError

Ids = NDArray[np.int64]
Scales = NDArray[np.float32]

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


def quantize(source: Path, target: Path, recipe: Recipe, *, reduced_range: bool, calibration: Iterable[Ids]) -> None:
    """Write the graph at `source` to `target` with 8-bit weights, one scale per output channel.

    `calibration` are (1, tokens) id arrays of a few ordinary texts; only a smoothed recipe runs them.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    from ingest.encoder.smoothing import smooth

    with tempfile.TemporaryDirectory(prefix="akin-quantize-") as folder:
        prepared = Path(folder) / "prepared.onnx"
        model = onnx.load(source)
        if recipe.smoothed:
            smooth(model, _channel_sizes(model, Path(folder), calibration))
        onnx.save(model, prepared)
        quantize_dynamic(
            prepared,
            target,
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            reduce_range=reduced_range,
            weight_type=QuantType.QInt8,
        )


def _channel_sizes(model: Any, folder: Path, calibration: Iterable[Ids]) -> dict[str, Scales]:
    """Largest magnitude of every channel of every MatMul input over the calibration texts."""
    import onnx
    import onnxruntime

    from ingest.encoder.smoothing import weighted_inputs

    observed = onnx.ModelProto()
    observed.CopyFrom(model)
    names = list(weighted_inputs(observed.graph))
    observed.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    onnx.save(observed, folder / "observed.onnx")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(folder / "observed.onnx"), options, providers=["CPUExecutionProvider"])
    sizes: dict[str, Scales] = {}
    for ids in calibration:
        found = session.run(names, {"input_ids": ids, "attention_mask": np.ones_like(ids)})
        for name, values in zip(names, found, strict=True):
            largest = np.abs(values).reshape(-1, values.shape[-1]).max(axis=0)
            sizes[name] = np.maximum(sizes.get(name, np.float32(_SMALLEST)), largest)
    return sizes
