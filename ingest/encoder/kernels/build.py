"""Compiles the kernels when akin is installed, where there is a C compiler: `python -m ingest.encoder.kernels.build`.

pip runs the hook below (hatchling's, named in pyproject.toml). Where nothing can be compiled akin is installed without
kernels, and onnxruntime runs its models.
"""

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FILE = "kernels.so"
_COMPILERS = ("cc", "gcc", "clang")
_COMMON = ["-O3", "-fPIC", "-fno-math-errno", "-mfma", "-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl"]
_BF16 = ("-mavx512bf16", "-DBF16")
_PARTS = (
    ("encode.c", "vnni.o", (*_COMMON, "-mavx512vnni")),
    ("encode.c", "bf16.o", (*_COMMON, *_BF16, "-mavx512vnni")),
    ("encode.c", "amx.o", (*_COMMON, *_BF16, "-mamx-tile", "-mamx-int8", "-mamx-bf16", "-DAMX")),
    ("processor.c", "processor.o", ("-O2", "-fPIC")),  # runs anywhere, so no instructions of others
)


def compile_kernels(folder: Path) -> str:
    """Compile the sources in `folder` to the library beside them; what stood in the way, or nothing."""
    if os.name != "posix" or platform.machine() not in {"x86_64", "amd64"}:
        return "the kernels are written for x86-64 on Linux or macOS"
    try:
        compiler = shlex.split(os.environ.get("CC", "")) or [name for name in _COMPILERS if shutil.which(name)][:1]
        return _compile(compiler, folder) if compiler else "there is no C compiler"
    except (OSError, ValueError) as error:  # a folder that cannot be written, a quote in CC that is left open
        return f"they cannot be compiled: {error}"


def _compile(compiler: Sequence[str], folder: Path) -> str:
    sources = f'-DAKIN_SOURCES="{hash_of_sources(folder)}"'
    with tempfile.TemporaryDirectory(prefix="akin-kernels-") as scratch:
        objects = [str(Path(scratch) / name) for _, name, _ in _PARTS]
        for (source, _, flags), target in zip(_PARTS, objects, strict=True):
            if said := _run([*compiler, *flags, sources, "-c", str(folder / source), "-o", target]):
                return said
        library = Path(scratch) / FILE
        if said := _run([*compiler, "-shared", *objects, "-o", str(library), "-lm"]):
            return said
        # Beside the old one and then over it: a process that runs the old one keeps it.
        partial = folder / f".{FILE}.{os.getpid()}"
        try:
            shutil.copyfile(library, partial)
            partial.replace(folder / FILE)
        finally:
            partial.unlink(missing_ok=True)
    return ""


def hash_of_sources(folder: Path) -> str:
    """Tells a library that was compiled from other sources, or in another way: its structures may be others as well."""
    found = hashlib.sha256()
    for path in sorted([*folder.glob("*.c"), *folder.glob("*.h"), folder / "build.py"]):
        found.update(path.name.encode() + b"\0" + path.read_bytes())
    return found.hexdigest()


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - fixed arguments
    if done.returncode == 0:
        return ""
    said = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr.strip())
    return f"{command[0]} cannot compile them (GCC 11 and Clang 12 can): {said}"


try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
    from packaging.tags import sys_tags
except ImportError:  # at run time, where nothing is built
    pass
else:

    class KernelHook(BuildHookInterface):  # type: ignore[misc]  # hatchling is not there when types are checked
        """Puts the compiled kernels into the wheel, which then is one for this platform."""

        def initialize(self, version: str, build_data: dict[str, Any]) -> None:
            """Compile before the wheel is put together, or before an editable install points here."""
            del version
            folder = Path(self.root) / "ingest" / "encoder" / "kernels"
            if missing := compile_kernels(folder):
                self.app.display_warning(f"akin is installed without its kernels, embedding runs slower: {missing}")
                return
            build_data["artifacts"].append(f"ingest/encoder/kernels/{FILE}")
            build_data["pure_python"] = False
            # For any Python, as nothing of Python is in the library, on this platform, as hatchling names it.
            names = (tag.platform for tag in sys_tags())
            platform = next(name for name in names if not name.startswith(("manylinux", "musllinux")))
            build_data["tag"] = f"py3-none-{platform}"


if __name__ == "__main__":
    sys.exit(compile_kernels(Path(__file__).parent) or None)
