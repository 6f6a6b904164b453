"""How torch may compute: on which device, compiled or not, in which numbers.

    available_modes(); find_mode("torch-compile")     # ExecutionMode(device="cpu", compiled=True, bf16=False)
    call = compile_module(module, lambda: examples)   # MissingError where torch cannot compile

The modes on a GPU are there where torch finds one. They were written without one at hand, so no test has run them; like
every kind they must give the answers of the reference before they serve.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepseek.errors import MissingError
from deepseek.extras import is_installed, need

#: Compiling joins what eager torch computes step by step. It was seen to gain a tenth to two thirds, and takes half a
#: minute, so it is tried only where eager torch is within this factor of the fastest kind.
COMPILE_FACTOR = 2.0
#: Of a driver: a server, a Jetson, Windows' own Linux, AMD.
_DRIVER_FILES = ("/dev/nvidiactl", "/dev/nvgpu", "/dev/dxg", "/dev/kfd")


@dataclass(frozen=True, slots=True)
class ExecutionMode:
    """How torch computes one kind of engine. On a GPU float32 is whole: torch rounds to TF32 only where it is asked
    to."""

    device: str = "cpu"
    compiled: bool = False
    bf16: bool = False  # lossy


EXECUTION_MODES: dict[str, ExecutionMode] = {
    "torch": ExecutionMode(),
    "torch-compile": ExecutionMode(compiled=True),
    "torch-bf16": ExecutionMode(bf16=True),
    "torch-cuda": ExecutionMode("cuda"),
    "torch-cuda-bf16": ExecutionMode("cuda", bf16=True),
}
LOSSY_MODES = frozenset(name for name, mode in EXECUTION_MODES.items() if mode.bf16)


def has_gpu() -> bool:
    """Whether the driver of a GPU is there, found without importing anything."""
    return any(Path(path).exists() for path in _DRIVER_FILES)


def torch_has_gpu() -> bool:
    """Whether torch finds a GPU that it can use; torch is imported only where there is a driver."""
    return is_installed("torch") and has_gpu() and bool(need("torch", extra="train").cuda.is_available())


def available_modes() -> list[str]:
    """Names of the modes that this machine can run; none without torch."""
    if not is_installed("torch"):
        return []
    gpu = torch_has_gpu()
    return [name for name, mode in EXECUTION_MODES.items() if mode.device == "cpu" or gpu]


def find_mode(name: str) -> ExecutionMode:
    """The mode of that name. MissingError where its device is not there."""
    mode = EXECUTION_MODES[name]
    if mode.device != "cpu" and not torch_has_gpu():
        raise MissingError(
            f"{name} needs a GPU, and torch finds none", expected="a CUDA device", fix="serve with another engine"
        )
    return mode


def limit_torch_threads() -> None:
    """Let torch compute with one thread in this process, which has to be our own: two threads that wait for each other
    beside other work took 30 ms for eight rows."""
    need("torch", extra="train").set_num_threads(1)


def compile_module(module: Callable[..., Any], examples: Callable[[], Sequence[tuple[Any, ...]]]) -> Callable[..., Any]:
    """`module` compiled for all sizes over 1, on what `examples` makes: two inputs that differ in every size. It is
    called in inference mode, whose tensors are of a kind of their own, and so has to be whoever calls what comes back.
    What would have to be compiled again later is computed eagerly instead: no request waits for a compiler.

    MissingError where torch cannot compile: it needs a C++ compiler, and a folder that can be written to.
    """
    torch = need("torch", extra="train")
    compiled = torch.compile(module, dynamic=True)
    try:
        with torch.inference_mode():
            for example in examples():
                compiled(*example)
    except (RuntimeError, OSError, ImportError, subprocess.SubprocessError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise MissingError(
            f"torch cannot compile here: {reason[0][:200]}",
            expected="a C++ compiler such as g++, and a folder for what it makes",
            fix="install g++, or leave the model to another engine",
        ) from error

    def call(*inputs: Any) -> Any:
        with torch.compiler.set_stance("eager_on_recompile"):
            return compiled(*inputs)

    return call
