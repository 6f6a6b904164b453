"""The C++ of the operator, built by the compiler of this machine: one call for torch, and one for onnxruntime.

    NATIVE = load()                                     # operator.cpp, against this torch, and loaded
    monotone_spline(x, slopes, first=-2, step=0.5, namespace=NATIVE)
    build_onnx()                                        # kernel_onnx.cpp: the library that a bundle carries, signed
    python -m monotone_splines.native                   # the same; prints its path

torch.utils.cpp_extension.load does the same through ninja, and waits for ever beside the lock of a build that was
killed; here a build is named by what it is made from, and put in its place whole.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import torch
from torch.utils import cpp_extension

from deepseek.errors import ExtraError
from monotone_splines.operator import NATIVE, register

HERE = Path(__file__).parent
SOURCE, ONNX_SOURCE = HERE / "operator.cpp", HERE / "kernel_onnx.cpp"
HEADERS = (HERE / "curve.h", HERE / "onnxruntime_operators.h")
FLAGS = ("-std=c++20", "-O3", "-fPIC", "-shared")
TORCH_FLAGS = ("-fopenmp",)  # at::parallel_for is serial without OpenMP
#: The library goes to other machines: it brings its own C++ runtime, and shows no name but the one that is asked for.
ONNX_FLAGS = ("-static-libstdc++", "-static-libgcc", "-fvisibility=hidden", "-s")


@cache
def load() -> str:
    """The namespace of the C++ operators. ExtraError where there is no compiler, or it does not take the source."""
    torch.ops.load_library(build())
    register(NATIVE)
    return NATIVE


def build() -> Path:
    """The library for torch, made when its source, the flags, torch or the machine are new."""
    return _compile(SOURCE, (*TORCH_FLAGS, *_torch_flags()), made_for=torch.__version__)


def build_onnx() -> Path:
    """The library for onnxruntime, of any release that has the C interface of onnxruntime_operators.h."""
    return _compile(ONNX_SOURCE, ONNX_FLAGS, made_for="onnxruntime")


def _compile(source: Path, flags: tuple[str, ...], *, made_for: str) -> Path:
    """The compiled library, made when anything that it is made from is new. ExtraError as of load()."""
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None or os.name == "nt":
        raise _unusable("there is no C++ compiler here that takes the flags of g++")
    sources = [path.read_text("utf-8") for path in (source, *HEADERS)]
    texts = [made_for, platform.machine(), compiler, *FLAGS, *flags, *sources]
    digest = hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]
    folder = Path(cpp_extension.get_default_build_root())
    library = folder / f"monotone_splines-{source.stem}-{digest}.so"
    if library.exists():
        return library
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        unfinished = Path(temporary, library.name)
        command = [compiler, *FLAGS, str(source), "-o", str(unfinished), *flags]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            raise _unusable(f"{compiler} cannot be started: {error.strerror}") from error
        if done.returncode:
            raise _unusable(f"{compiler} does not take {source.name}: {done.stderr.strip()[:500]}")
        unfinished.replace(library)
    return library


def _torch_flags() -> tuple[str, ...]:
    includes = [f"-isystem{path}" for path in cpp_extension.include_paths()]
    libraries = [part for path in cpp_extension.library_paths() for part in (f"-L{path}", f"-Wl,-rpath,{path}")]
    return (*includes, *libraries, "-ltorch_cpu", "-lc10")


def _unusable(what: str) -> ExtraError:
    return ExtraError(
        what,
        expected="g++ or clang++ with C++20 and OpenMP",
        fix="install one, or name it in CXX; the operator in Python gives the same numbers without",
    )


if __name__ == "__main__":
    print(build_onnx())  # noqa: T201
