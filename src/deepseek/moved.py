"""Modules that the guides named under another path in the last release: the old path still imports, with a warning.

A name that is asked for under its old path is the very module at its new one. The table goes with the next release.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

#: Old path -> new path.
MOVED = {
    "deepseek.cli.cluster": "deepseek.cli.support.cluster",  # configurations of Ray Serve name it
    "deepseek.data.align": "deepseek.data.samples.align",
    "deepseek.data.fuse": "deepseek.data.samples.preparer",
    "deepseek.data.image": "deepseek.data.media.image",
    "deepseek.data.audio": "deepseek.data.media.audio",
    "deepseek.data.scan": "deepseek.data.media.scan",
    "deepseek.data.series": "deepseek.data.media.series",
    "deepseek.data.video": "deepseek.data.media.video",
    "deepseek.data.shards_tar": "deepseek.data.stream.shards_tar",
    "deepseek.data.stream_ray": "deepseek.data.stream.stream_ray",
    "deepseek.explain.cite": "deepseek.citations",
    "deepseek.explain.cite.e5": "deepseek.citations.retrieval.e5",
    "deepseek.serve.client": "deepseek.client",
    "deepseek.train.align": "deepseek.train.multimodal.align",
    "deepseek.train.convert": "deepseek.train.tabular.convert",
    "deepseek.train.data_parallel": "deepseek.train.distributed.data_parallel",
    "deepseek.train.fusion": "deepseek.train.multimodal.fusion",
    "deepseek.train.fusion_row": "deepseek.train.multimodal.fusion_row",
    "deepseek.train.launch": "deepseek.train.distributed.launch",
    "deepseek.train.shard": "deepseek.train.distributed.shard",
}


class MovedFinder(MetaPathFinder, Loader):
    """Finds what MOVED lists, before others do: a folder of an old path that an upgrade has left empty would count as a
    namespace package."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of a moved module; None for every other name."""
        return ModuleSpec(fullname, self) if fullname in MOVED else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """An empty module, which exec_module() replaces."""
        return ModuleType(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Puts the module of the new path under the old one, too."""
        new = MOVED[module.__name__]
        warnings.warn(f"{module.__name__} is now {new}", DeprecationWarning, stacklevel=2)
        sys.modules[module.__name__] = import_module(new)


def install() -> None:
    """Let old paths import from now on."""
    if not any(isinstance(finder, MovedFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, MovedFinder())
