"""The compiled kernels: which of them this processor can run, and how they are called."""

import ctypes
import logging
from ctypes import POINTER, c_char_p, c_float, c_int, c_int32, c_int64, c_uint8, c_void_p
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ingest.encoder.cpu import processor_flags
from ingest.encoder.kernels.build import FILE as NAME
from ingest.encoder.kernels.build import hash_of_sources

FILE = Path(__file__).with_name(NAME)
logger = logging.getLogger(__name__)
_REMEDY = "install a C compiler, and run `python -m ingest.encoder.kernels.build`"
_VARIANTS = {1: ("vnni", "AVX512-VNNI"), 2: ("bf16", "AVX512-BF16"), 3: ("amx", "AMX")}  # by what processor.c answers


class CProduct(ctypes.Structure):
    """`struct product` of model.h, as all structures here are those of that file."""

    _fields_ = [
        ("weights", c_void_p),
        ("scale", c_void_p),
        ("offset", c_void_p),
        ("inputs", c_int64),
        ("outputs", c_int64),
    ]


class CNorm(ctypes.Structure):
    """`struct norm`."""

    _fields_ = [
        ("weight", c_void_p),
        ("bias", c_void_p),
        ("factor", c_void_p),
        ("zero", c_float),
        ("epsilon", c_float),
    ]


class CLayer(ctypes.Structure):
    """`struct layer`."""

    _fields_ = [
        ("attention", CProduct),
        ("mix", CProduct),
        ("widen", CProduct),
        ("narrow", CProduct),
        ("mixed", CNorm),
        ("narrowed", CNorm),
        ("mix_factor", c_float),
        ("mix_zero", c_float),
        ("narrow_factor", c_float),
        ("narrow_zero", c_float),
    ]


class CModel(ctypes.Structure):
    """`struct model`."""

    _fields_ = [
        ("words", c_void_p),
        ("positions", c_void_p),
        ("embedded", CNorm),
        ("layers", POINTER(CLayer)),
        ("n_layers", c_int64),
        ("hidden", c_int64),
        ("heads", c_int64),
        ("first_token", c_int64),
    ]


@dataclass(frozen=True, kw_only=True)
class Variant:
    """The kernels as compiled for one kind of processor."""

    name: str
    encode: Any  # (model, ids, lengths, texts, vectors, scratch)
    scratch: Any  # (model, tokens, longest) -> bytes


@cache
def best_variant() -> Variant | None:
    """The fastest this processor can run; None where there is none, or where nothing was compiled at install."""
    runnable = variants()
    return runnable[-1] if runnable else None


@cache
def variants() -> tuple[Variant, ...]:
    """All that this processor can run, the fastest last."""
    try:
        library = ctypes.CDLL(str(FILE))
        library.akin_sources.restype = c_char_p
    except (OSError, AttributeError):
        if "avx512_vnni" in processor_flags():
            logger.warning("akin's kernels are not compiled, embedding runs slower", extra={"remedy": _REMEDY})
        return ()
    if library.akin_sources().decode() != hash_of_sources(FILE.parent):
        logger.warning(
            "akin's kernels were compiled from other sources, onnxruntime runs the model",
            extra={"remedy": _REMEDY},
        )
        return ()
    library.akin_processor.restype = c_int
    return tuple(_variant(library, *names) for found, names in _VARIANTS.items() if found <= library.akin_processor())


def _variant(library: ctypes.CDLL, suffix: str, name: str) -> Variant:
    encode, scratch = getattr(library, f"akin_encode_{suffix}"), getattr(library, f"akin_scratch_{suffix}")
    ids, vectors = POINTER(c_int32), POINTER(c_float)
    encode.argtypes, encode.restype = [POINTER(CModel), ids, ids, c_int64, vectors, POINTER(c_uint8)], None
    scratch.argtypes, scratch.restype = [POINTER(CModel), c_int64, c_int64], c_int64
    return Variant(name=name, encode=encode, scratch=scratch)
