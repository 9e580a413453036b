"""Stores an exported graph by a recipe: fused, and with weights of fewer bits. Embedding tables stay as they are."""

import contextlib
import io
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest.encoder.activations import Activation, Activations
from ingest.encoder.recipes import Recipe

Ids = NDArray[np.int64]

_BLOCK = 32  # weights that share a scale in the storage "blocks"
_EIGHT_BITS, _SEVEN_BITS = 127, 63


def store(
    source: Path,
    target: Path,
    recipe: Recipe,
    *,
    reduced_range: bool,
    calibration: Iterable[Ids],
    tell: Callable[[str], None],
) -> None:
    """Write the fp32 graph at `source` to `target` as the recipe stores it.

    `calibration` are (1, tokens) id arrays of ordinary texts; only int8 runs them.
    """
    import onnx

    from ingest.encoder.first_token import keep_first_token
    from ingest.encoder.gpu import to_half_precision
    from ingest.encoder.int8 import to_int8
    from ingest.encoder.matmuls import to_blocks
    from ingest.encoder.rewrites import carry_over, settle_attention_biases

    if recipe.storage == "fp16":
        onnx.save(to_half_precision(fuse(source), tell), target)
        return
    if recipe.storage == "blocks":
        model = onnx.load(source)  # not fused: every product is a node of its own
        to_blocks(model, _BLOCK)
    else:
        model = fuse(source).model
    if recipe.storage == "int8":
        texts = list(calibration)
        settle_attention_biases(model.graph)
        limits = carry_over(model.graph, observe(model, texts))
        seen = observe(model, texts, limits)
        most = _SEVEN_BITS if reduced_range else _EIGHT_BITS
        to_int8(model, seen, most=most, even_attention=recipe.even_attention, tell=tell)
    keep_first_token(model.graph)
    onnx.save(model, target)


def fuse(source: Path) -> Any:
    """The graph with attention and GELU as one node each, as onnxruntime's optimizer for BERT-type models has them.

    SkipLayerNormalization is left apart: in onnxruntime 1.31 and 1.32 it is many times slower than its parts.
    """
    from onnxruntime.transformers.fusion_options import FusionOptions
    from onnxruntime.transformers.optimizer import optimize_model

    options = FusionOptions("bert")
    options.enable_skip_layer_norm = options.enable_bias_skip_layer_norm = options.enable_embed_layer_norm = False
    options.enable_bias_gelu = False  # the bias goes into the product before it
    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it could not infer, which nothing here needs
        return optimize_model(
            str(source), "bert", num_heads=0, hidden_size=0, optimization_options=options, opt_level=0
        )


def observe(model: Any, calibration: Iterable[Ids], limits: Mapping[str, float] = MappingProxyType({})) -> Activations:
    """What goes into every product while the texts are read; inputs with a limit are taken as if cut off there."""
    import onnx
    import onnxruntime

    from ingest.encoder.matmuls import find_products

    seen = {
        product.input: Activation.unseen(len(product.weights), limits.get(product.input))
        for product in find_products(model.graph)
    }
    observed = onnx.ModelProto()
    observed.CopyFrom(model)
    observed.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in seen)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # it takes all time of a busy machine
    with TemporaryDirectory(prefix="akin-observe-") as folder:
        path = Path(folder) / "observed.onnx"
        onnx.save(observed, path)
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    for ids in calibration:
        found = session.run(list(seen), {"input_ids": ids, "attention_mask": np.ones_like(ids)})
        for activation, values in zip(seen.values(), found, strict=True):
            activation.add(values.reshape(-1, values.shape[-1]))
    return seen
