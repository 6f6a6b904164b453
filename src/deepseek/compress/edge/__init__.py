"""A model on a small device, without torch and without Python: generated C, or onnxruntime's library, or ExecuTorch.

    from deepseek.compress.edge import EdgeOptions, export_edge
    done = export_edge(Path("loans"), Path("loans-edge"), EdgeOptions(tier="c", max_mb=1))

Reading order: subject (the model and real rows) -> columns, tables (a bundle in C), nodes, network, layers (a network
in C), int8 (smaller graphs) -> program (model.h, model.c) -> variants -> build (compile, run, measure) -> parity ->
export. C that does not depend on the model lies in c/.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepseek.extras import lazy_attributes

if TYPE_CHECKING:
    from deepseek.compress.edge.export import export_edge
    from deepseek.compress.edge.result import EdgeExport, EdgeOptions

__all__ = ["EdgeExport", "EdgeOptions", "export_edge"]

__getattr__ = lazy_attributes(__name__, dict.fromkeys(__all__, "export"))
