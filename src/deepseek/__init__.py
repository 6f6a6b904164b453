"""From raw data to a served, explained, watched model. Every verb takes a bundle or makes one.

    import deepseek as ds
    shipped = ds.ship("loans.csv", target="default")     # data in, evidence-carrying bundle out
    ds.load(shipped.path).predict(frame).probabilities   # (N, C)
    ds.evaluate(shipped.path, "later.csv")["metrics"]
    ds.explain(shipped.path, "new.csv", html="why.html")["importance"]
    ds.verify(shipped.path)["ok"], ds.inspect(shipped.path)["size_bytes"]

evaluate, explain, inspect and verify return what the command of their name prints with --json. A name is imported when
it is first used (PEP 562), so `import deepseek` itself imports nothing heavy. It forbids the libraries below it to
report to their makers (telemetry.py), before any of them is imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deepseek.moved import install
from deepseek.telemetry import disable_telemetry
from deepseek.version import __version__

if TYPE_CHECKING:
    from deepseek.automl.evaluate import evaluate_bundle as evaluate
    from deepseek.automl.ship import ship
    from deepseek.bundle import inspect_bundle as inspect
    from deepseek.bundle import verification as verify
    from deepseek.engines import open_runtime as load
    from deepseek.explain.bundle import explain_bundle as explain

disable_telemetry()
install()

__all__ = ["__version__", "evaluate", "explain", "inspect", "load", "ship", "verify"]

_LAZY = {
    "evaluate": ("deepseek.automl.evaluate", "evaluate_bundle"),
    "inspect": ("deepseek.bundle", "inspect_bundle"),
    "load": ("deepseek.engines", "open_runtime"),
    "ship": ("deepseek.automl.ship", "ship"),
    "verify": ("deepseek.bundle", "verification"),
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'deepseek' has no attribute {name!r}; it has {', '.join(__all__)}")
    import importlib
    import operator

    if name == "explain":  # a room of that name, which can be called
        return importlib.import_module("deepseek.explain")
    module, attribute = _LAZY[name]
    found = operator.attrgetter(attribute)(importlib.import_module(module))
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
