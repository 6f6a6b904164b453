"""Buckets of relative positions as tables, while a graph is recorded.

    with tabulate_buckets(torch, 512):
        model(...)               # fills the tables
        torch.onnx.export(...)   # records look-ups

transformers finds the bucket of a distance by a logarithm that is rounded up or down. At a distance where it is a whole
number, as at 511 in DeBERTa or 64 in MPNet, the last bit of the logarithm decides, which OpenVINO computes otherwise
than torch: the answer to a text of 512 tokens then moved by .0025. A distance is a whole number, so a table of torch's
own results is exact everywhere.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

#: Module of transformers, class ("" for none), and a function of relative positions (a tensor) and plain numbers.
BUCKET_FUNCTIONS = (
    ("transformers.models.deberta_v2.modeling_deberta_v2", "", "make_log_bucket_position"),
    ("transformers.models.mpnet.modeling_mpnet", "MPNetEncoder", "relative_position_bucket"),
)


@contextmanager
def tabulate_buckets(torch: Any, most: int) -> Iterator[None]:
    """Replaces the bucket functions by tables for texts of at most `most` tokens. A model's first call, which fills
    them, has to come before the one that is recorded."""
    with ExitStack() as stack:
        for module, owner, name in BUCKET_FUNCTIONS:
            if module in sys.modules:
                namespace: Any = getattr(sys.modules[module], owner) if owner else sys.modules[module]
                lookup = _table_lookup(torch, getattr(namespace, name), most)
                stack.callback(setattr, namespace, name, vars(namespace)[name])
                setattr(namespace, name, staticmethod(lookup) if owner else lookup)
        yield


def _table_lookup(torch: Any, function: Callable[..., Any], most: int) -> Callable[..., Any]:
    """A function with the results of another one at the distances -most to most, computed once for each option."""
    tables: dict[Any, Any] = {}

    def look_up(positions: Any, *args: Any, **options: Any) -> Any:
        key = (args, tuple(sorted(options.items())))
        if key not in tables:
            tables[key] = function(torch.arange(-most, most + 1), *args, **options)
        return tables[key][positions + most]

    return look_up
