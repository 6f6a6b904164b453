"""operator.cpp, built by the C++ compiler of this machine against this torch, and loaded: one compiler call.

    NATIVE = load()
    monotone_spline(x, slopes, first=-2, step=0.5, namespace=NATIVE)

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

SOURCE = Path(__file__).with_name("operator.cpp")
FLAGS = ("-std=c++20", "-O3", "-fPIC", "-shared", "-fopenmp")  # at::parallel_for is serial without OpenMP


@cache
def load() -> str:
    """The namespace of the C++ operators. ExtraError where there is no compiler, or it does not take the source."""
    torch.ops.load_library(build())
    register(NATIVE)
    return NATIVE


def build() -> Path:
    """The compiled library, made when its source, the flags, torch or the machine are new."""
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None or os.name == "nt":
        raise _unusable("there is no C++ compiler here that takes the flags of g++")
    made_from = f"{torch.__version__} {platform.machine()} {compiler} {FLAGS} {SOURCE.read_text('utf-8')}"
    folder = Path(cpp_extension.get_default_build_root())
    library = folder / f"monotone_splines-{hashlib.sha256(made_from.encode()).hexdigest()[:16]}.so"
    if library.exists():
        return library
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        unfinished = Path(temporary, library.name)
        command = [compiler, *FLAGS, str(SOURCE), "-o", str(unfinished), *_torch_flags()]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            raise _unusable(f"{compiler} cannot be started: {error.strerror}") from error
        if done.returncode:
            raise _unusable(f"{compiler} does not take {SOURCE.name}: {done.stderr.strip()[:500]}")
        unfinished.replace(library)
    return library


def _torch_flags() -> list[str]:
    includes = [f"-isystem{path}" for path in cpp_extension.include_paths()]
    libraries = [part for path in cpp_extension.library_paths() for part in (f"-L{path}", f"-Wl,-rpath,{path}")]
    return [*includes, *libraries, "-ltorch_cpu", "-lc10"]


def _unusable(what: str) -> ExtraError:
    return ExtraError(
        what,
        expected="g++ or clang++ with C++20 and OpenMP",
        fix="install one, or name it in CXX; the operator in Python gives the same numbers without",
    )
