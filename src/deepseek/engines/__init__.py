"""Export a finished model and run it. Names are imported when first used: running needs no onnx, exporting no server.

graph = export_onnx(model, num_features)         one deterministic ONNX graph
parity = check_parity(model, graph, features)    every engine against the numpy twin, or refused
tuning = autotune(source, parity, features)      which engine for how many rows
Runtime.open("bundle").predict(rows)             the whole way from raw rows to answers
open_runtime("bundle").predict(rows)             the same for whatever ship made: a table, or several modalities
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepseek.extras import lazy_attributes

if TYPE_CHECKING:
    from deepseek.engines.multimodal.runtime import MultimodalRuntime, open_runtime
    from deepseek.engines.parity import check_parity
    from deepseek.engines.registry import ENGINES, Source, open_engine
    from deepseek.engines.tabular.export import export_onnx
    from deepseek.engines.tabular.runtime import Runtime
    from deepseek.engines.tabular.tune import Tuning, autotune

__all__ = [
    "ENGINES",
    "MultimodalRuntime",
    "Runtime",
    "Source",
    "Tuning",
    "autotune",
    "check_parity",
    "export_onnx",
    "open_engine",
    "open_runtime",
]

_MODULES = {
    "ENGINES": "registry",
    "MultimodalRuntime": "multimodal.runtime",
    "Runtime": "tabular.runtime",
    "Source": "registry",
    "Tuning": "tabular.tune",
    "autotune": "tabular.tune",
    "check_parity": "parity",
    "export_onnx": "tabular.export",
    "open_engine": "registry",
    "open_runtime": "multimodal.runtime",
}

#: Names of the last release.
_RENAMED = {"FusedRuntime": "MultimodalRuntime"}

__getattr__ = lazy_attributes(__name__, _MODULES, _RENAMED)
