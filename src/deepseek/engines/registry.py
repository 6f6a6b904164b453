"""Kinds of engines by name, and how one is opened.

    source = Source(load_model=lambda: model, load_graph=lambda: data, num_features=30)
    open_engine("onnxruntime", source).score(features)

An engine class has `open(source)` and `supports(model)`. Its module is imported when it is opened, so a server that
never runs torch never imports it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Protocol

from deepseek.contracts import Engine
from deepseek.nn.model import Model
from deepseek.plugins import find

#: "module:attribute" by kind; onnxruntime runs every model.
ENGINES: dict[str, str] = {
    "onnxruntime": "deepseek.engines.onnx:OnnxEngine",
    "trees": "deepseek.engines.tabular.trees:TreesEngine",
    "torch": "deepseek.engines.tabular.torch:TorchEngine",
    "onnxruntime-int8": "deepseek.engines.onnx:Int8Engine",
    "torch-cuda": "deepseek.engines.tabular.torch:CudaTorchEngine",
    "torch-compile": "deepseek.engines.tabular.torch:CompiledTorchEngine",
    "torch-bf16": "deepseek.engines.tabular.torch:Bf16TorchEngine",
    "torch-cuda-bf16": "deepseek.engines.tabular.torch:CudaBf16TorchEngine",
}
REFERENCE = "onnxruntime"
#: Not among those that autotune measures: they move the answers.
LOSSY_KINDS = frozenset(["onnxruntime-int8", "torch-bf16", "torch-cuda-bf16"])
#: None of them runs trees, and to import torch for that answer takes seconds.
TORCH_KINDS = frozenset(kind for kind in ENGINES if kind.startswith("torch"))
#: Kinds that take long to open -> what they are built from: tried only where that is near the fastest.
LATE_KINDS = {"torch-compile": "torch"}


@dataclass(frozen=True, slots=True)
class Source:
    """How an engine gets what it needs. Each loader is called at most once by an engine, on opening."""

    load_model: Callable[[], Model]
    load_graph: Callable[[], bytes]  # the ONNX graph of the same model
    num_features: int
    num_threads: int = 1  # of one call
    load_int8: Callable[[], bytes] | None = None  # the graph's copy in int8, where one was made
    num_outputs: int | None = None  # columns of the output: a graph with others is refused; None where nobody says


class EngineClass(Protocol):
    """The class behind a kind in ENGINES."""

    kind: str

    @classmethod
    def open(cls, source: Source) -> Engine:
        """Raises ExtraError when the library that it runs on is not installed."""
        ...

    @staticmethod
    def supports(model: Model) -> bool: ...


def engine_file(kind: str) -> str:
    """The file of a bundle that an engine of this kind reads: the graph, or the arrays that model.json lists."""
    return "model.onnx" if kind == REFERENCE else "model.json"


def engine_class(kind: str) -> EngineClass:
    """The class behind a kind; MissingError for an unknown one, ExtraError when its library is not installed."""
    engine: EngineClass = find("engines", kind)
    return engine


def open_engine(kind: str, source: Source) -> Engine:
    """An engine of `kind`, ready to score."""
    return engine_class(kind).open(source)


class OpenEngines:
    """The engines of one source, each opened when it is first asked for, and once: a graph of 61 MB takes seconds."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._engines: dict[str, Engine] = {}

    def get(self, kind: str) -> Engine:
        """The engine of `kind`; what open_engine() raises where it cannot be opened."""
        if kind not in self._engines:
            self._engines[kind] = open_engine(kind, self.source)
        return self._engines[kind]

    def close(self) -> None:
        """Let them all go."""
        for engine in self._engines.values():
            engine.close()
        self._engines.clear()


@contextmanager
def use_engine(kind: str, source: Source, engines: OpenEngines | None = None) -> Iterator[Engine]:
    """An engine of `kind`: of those that are open, which stays so, else one that is closed at the end."""
    if engines is not None:
        yield engines.get(kind)
        return
    with closing(open_engine(kind, source)) as engine:
        yield engine
