"""From raw data to a served, explained, watched model. Every verb takes a bundle or makes one.

    import deepseek as ds
    shipped = ds.ship("loans.csv", target="default")        # data in, evidence-carrying bundle out
    ds.load(shipped.path).predict(frame).probabilities      # (N, C)
    print(ds.evaluate(shipped.path, "later.csv").summary())
    ds.compare(["loans-v1", shipped.path], "later.csv").comparisons[0].verdict
    ds.explain(shipped.path, "new.csv", html="why.html")["importance"]
    ds.explain.attribute(module, inputs, baselines).values  # of any torch module or function
    ds.compress(shipped.path, "later.csv", out="small").chosen
    ds.verify(shipped.path)["ok"], ds.inspect(shipped.path).size_bytes
    ds.optimizers.AdaptiveOptimizer                         # every room is there by its name

What a verb returns has typed fields, `.to_dict()` (what its command prints with --json), `.summary()` (without it) and
a table in a notebook (results.py). A name is imported when it is first used (PEP 562), so `import deepseek` itself
imports nothing heavy. It forbids the libraries below it to report to their makers (telemetry.py), before any of them is
imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deepseek.moved import install
from deepseek.telemetry import disable_telemetry
from deepseek.version import __version__

if TYPE_CHECKING:
    from deepseek import compress, explain
    from deepseek.automl.comparison.compare import compare_bundles as compare
    from deepseek.automl.evaluate import evaluate_bundle as evaluate
    from deepseek.automl.ship import ship
    from deepseek.bundle import inspect_bundle as inspect
    from deepseek.bundle import verification as verify
    from deepseek.engines import open_runtime as load

disable_telemetry()
install()

__all__ = ["__version__", "compare", "compress", "evaluate", "explain", "inspect", "load", "ship", "verify"]
#: Packages that are imported when they are first asked for; compress and explain can be called as well.
_ROOMS = frozenset(
    ("automl", "bench", "bundle", "citations", "cli", "client", "compress", "data", "engines", "explain", "features",
     "integrations", "look", "nn", "observe", "optimizers", "recipes", "serve", "sklearn", "train")
)  # fmt: skip

_LAZY = {
    "compare": ("deepseek.automl.comparison.compare", "compare_bundles"),
    "evaluate": ("deepseek.automl.evaluate", "evaluate_bundle"),
    "inspect": ("deepseek.bundle", "inspect_bundle"),
    "load": ("deepseek.engines", "open_runtime"),
    "ship": ("deepseek.automl.ship", "ship"),
    "verify": ("deepseek.bundle", "verification"),
}


def __getattr__(name: str) -> Any:
    import importlib

    if name in _ROOMS:
        return importlib.import_module(f"deepseek.{name}")
    if name not in _LAZY:
        raise AttributeError(f"module 'deepseek' has no attribute {name!r}; it has {', '.join(__all__)}")
    module, attribute = _LAZY[name]
    value = getattr(importlib.import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_ROOMS})
