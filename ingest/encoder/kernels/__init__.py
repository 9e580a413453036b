"""Runs int8 artifacts without onnxruntime, in C written for AVX-512 VNNI, BF16 and AMX. docs/decisions/0012 says why.

What these kernels do not know (another model, another processor, no compiler at install) stays with onnxruntime.
"""
