"""From raw data to a served, explained, watched model. Every verb takes a bundle or makes one.

    import deepseek as ds
    shipped = ds.ship("loans.csv", target="default")     # data in, evidence-carrying bundle out
    ds.load(shipped.path).predict(frame).probabilities   # (N, C)
    ds.evaluate(shipped.path, "later.csv")["metrics"]

A name is imported when it is first used (PEP 562), so `import deepseek` itself imports nothing heavy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deepseek.automl.evaluate import evaluate_bundle as evaluate
    from deepseek.automl.ship import ship
    from deepseek.engines import Runtime

    load = Runtime.open

__version__ = "0.1.0"
__all__ = ["__version__", "evaluate", "load", "ship"]

_LAZY = {
    "evaluate": ("deepseek.automl.evaluate", "evaluate_bundle"),
    "load": ("deepseek.engines", "Runtime.open"),
    "ship": ("deepseek.automl.ship", "ship"),
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'deepseek' has no attribute {name!r}; it has {', '.join(__all__)}")
    import importlib
    import operator

    module, attribute = _LAZY[name]
    found = operator.attrgetter(attribute)(importlib.import_module(module))
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
