"""akin and what else one would take, each behind one call: texts in, unit vectors out, tokens counted."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from ingest.chunks import chunks
from ingest.encoder.artifact import read_artifact
from ingest.encoder.batches import Batch
from ingest.encoder.onnx import OnnxEncoder
from ingest.encoder.protocol import Vectors
from ingest.encoder.session import PADDED_TO
from ingest.settings import Provider

PEER_LIMIT = 256  # tokens; what the default model was made to read
PEER_FILE = "onnx/model_qint8_avx512_vnni.onnx"
_BATCH = 32  # the default of sentence-transformers


@dataclass(kw_only=True)
class Count:
    """Tokens that were really texts' own, and tokens the model was given, padding included."""

    tokens: int = 0
    given: int = 0

    def add(self, mask: Any) -> None:
        """Count one batch by its attention mask."""
        self.tokens += int(mask.sum())
        self.given += int(np.prod(mask.shape))


Embed = Callable[[Sequence[str]], Vectors]


def open_engine(name: str, folder: Path, threads: int) -> tuple[Embed, Count]:
    """The named engine on the model in `folder`; `threads` 0 leaves it at its own default."""
    count = Count()
    makers: Mapping[str, Callable[[Path, int, Count], Embed]] = {
        "st-torch-fp32": _torch,
        "st-torch-fp16": partial(_torch_on_gpu, batch=_BATCH),
        "st-torch-fp16-256": partial(_torch_on_gpu, batch=256),
        "st-torch-fp16-1024": partial(_torch_on_gpu, batch=1024),
        "st-onnx-int8": _sentence_transformers_onnx,
        "fastembed-int8": _fastembed,
        "ort-int8": _plain,
        "akin-fp16": partial(_akin, provider="cuda"),
    }
    return makers.get(name, _akin)(folder, threads, count), count


class _CountingEncoder(OnnxEncoder):
    """Counts what the model is given, padding included."""

    def __init__(self, folder: Path, threads: int, provider: Provider, count: Count) -> None:
        super().__init__(read_artifact(folder), threads=threads, provider=provider)
        self._count, self._lock = count, Lock()

    def run(self, batch: Batch) -> Vectors:
        """As ever, and counted."""
        vectors = super().run(batch)
        with self._lock:
            self._count.tokens += batch.tokens
            self._count.given += batch.table(multiple=PADDED_TO)[0].size if self.padded else batch.tokens
        return vectors


def _akin(folder: Path, threads: int, count: Count, provider: Provider = "cpu") -> Embed:
    encoder = _CountingEncoder(folder, threads, provider, count)
    if provider == "cuda" and not encoder.padded:
        raise RuntimeError("onnxruntime has no CUDA here")
    return encoder.embed


def _torch(folder: Path, threads: int, count: Count) -> Embed:
    import torch
    from sentence_transformers import SentenceTransformer

    if threads:
        torch.set_num_threads(threads)
    return _counted(SentenceTransformer(str(folder), device="cpu"), count)


def _torch_on_gpu(folder: Path, _: int, count: Count, *, batch: int) -> Embed:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cuda", model_kwargs={"torch_dtype": "float16"})
    return _counted(model, count, batch)


def _sentence_transformers_onnx(folder: Path, threads: int, count: Count) -> Embed:
    from sentence_transformers import SentenceTransformer

    arguments = {"file_name": PEER_FILE, "provider": "CPUExecutionProvider"}
    if threads:
        arguments["session_options"] = _options(threads)
    return _counted(SentenceTransformer(str(folder), device="cpu", backend="onnx", model_kwargs=arguments), count)


def _counted(model: Any, count: Count, batch: int = _BATCH) -> Embed:
    model.max_seq_length = PEER_LIMIT
    masks: list[Any] = []
    model[0].register_forward_pre_hook(lambda _, given: masks.append(given[0]["attention_mask"]))

    def embed(texts: Sequence[str]) -> Vectors:
        vectors: Vectors = model.encode(
            list(texts), batch_size=batch, normalize_embeddings=True, show_progress_bar=False
        )
        while masks:  # only now: reading them would hold up a GPU
            count.add(masks.pop().cpu().numpy())
        return vectors

    return embed


class _Counting:
    """An onnxruntime session that counts what it is given."""

    def __init__(self, session: Any, count: Count) -> None:
        self._session, self._count = session, count

    def run(self, names: Any, given: Mapping[str, Any], *rest: Any) -> Any:
        self._count.add(given["attention_mask"])
        return self._session.run(names, given, *rest)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)


def _fastembed(folder: Path, threads: int, count: Count) -> Embed:
    from fastembed import TextEmbedding
    from fastembed.common.model_description import ModelSource, PoolingType

    width = int(json.loads((folder / "config.json").read_text(encoding="utf-8"))["hidden_size"])
    TextEmbedding.add_custom_model(
        model="akin/benchmark", pooling=PoolingType.MEAN, normalization=True, dim=width, model_file=PEER_FILE,
        sources=ModelSource(hf="akin/benchmark"),
    )  # fmt: skip
    model: Any = TextEmbedding("akin/benchmark", specific_model_path=str(folder), threads=threads or None)
    model.model.model = _Counting(model.model.model, count)
    return lambda texts: np.array(list(model.embed(list(texts))), np.float32)


def _options(threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return options


def _plain(folder: Path, threads: int, count: Count) -> Embed:
    """What one writes in an afternoon: sort by length, pad batches of 32, pool by mean."""
    import onnxruntime
    from tokenizers import Tokenizer  # type: ignore[import-untyped]  # it ships no type hints

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(PEER_LIMIT)
    tokenizer.enable_padding()
    inner = onnxruntime.InferenceSession(str(folder / PEER_FILE), _options(threads), providers=["CPUExecutionProvider"])
    session, wanted = _Counting(inner, count), {given.name for given in inner.get_inputs()}

    def run(texts: Sequence[str]) -> Vectors:
        found = tokenizer.encode_batch(list(texts))
        ids = np.array([one.ids for one in found], np.int64)
        mask = np.array([one.attention_mask for one in found], np.int64)
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        hidden = session.run(None, {name: value for name, value in given.items() if name in wanted})[0]
        summed = (hidden * mask[:, :, None]).sum(axis=1)
        vectors: Vectors = summed / np.linalg.norm(summed, axis=1, keepdims=True)
        return vectors

    def embed(texts: Sequence[str]) -> Vectors:
        order = sorted(range(len(texts)), key=lambda row: -len(texts[row]))
        found = np.concatenate([run([texts[row] for row in batch]) for batch in chunks(order, _BATCH)])
        vectors = np.empty_like(found)
        vectors[order] = found
        return vectors

    return embed
