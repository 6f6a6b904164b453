"""The bundle behind a fitted estimator.

    bundle = EstimatorBundle(scratch / "estimator", digest, scratch=scratch)     # the folder goes with the object
    bundle.runtime.outputs(table)                                                # opened when it is first asked

A pickle of it holds a path and a digest, never weights: the bundle is copied to the cache, under its digest, when it is
pickled, and its files are checked when the pickle's estimator first answers. So a pickle that travels alone says what
it lacks.
"""

from __future__ import annotations

import shutil
import threading
import weakref
from pathlib import Path

from deepseek.bundle import verification
from deepseek.bundle.paths import MANIFEST
from deepseek.bundle.place import exclusive_writer, replace_folder, temporary_folder
from deepseek.engines import Runtime
from deepseek.engines.registry import REFERENCE
from deepseek.errors import IntegrityError
from deepseek.files import cache_folder


class EstimatorBundle:
    """A bundle by its path and digest. Safe to share between threads."""

    def __init__(self, path: Path, digest: str, *, scratch: Path | None = None) -> None:
        """`scratch`: a folder that holds the bundle and is removed with this object; None where the bundle stays."""
        self.path, self.digest = path, digest
        self._scratch = scratch
        self._opening = threading.Lock()
        self._runtime: Runtime | None = None
        if scratch is not None:
            weakref.finalize(self, shutil.rmtree, scratch, ignore_errors=True)

    def __repr__(self) -> str:
        return f"EstimatorBundle({str(self.path)!r}, {self.digest[:12]!r})"

    def _repr_html_(self) -> str:
        """The bundle's card, for a notebook."""
        return self.runtime._repr_html_()

    @property
    def runtime(self) -> Runtime:
        """The open bundle; one engine answers calls of any size, so that a row's answer is the same in each of them.
        MissingError where the folder is gone, IntegrityError where it holds another model."""
        with self._opening:
            if self._runtime is None:
                runtime = Runtime.open(self.path, engine=REFERENCE)
                if runtime.bundle.digest != self.digest:
                    raise IntegrityError(
                        f"{self.path} holds the model {runtime.bundle.digest[:12]}",
                        expected=f"the model {self.digest[:12]} that this estimator was fitted as",
                        fix="copy the bundle of that digest there, or fit again",
                    )
                self._runtime = runtime
            return self._runtime

    def keep(self) -> Path:
        """Where the bundle stays when this object is gone: its own folder, or a copy in the cache."""
        if self._scratch is None:
            return self.path
        copy = cache_folder() / "estimators" / self.digest
        if not (copy / MANIFEST).is_file() or not verification(copy)["ok"]:
            copy.parent.mkdir(parents=True, exist_ok=True)
            with exclusive_writer(copy), temporary_folder(copy) as temporary:
                shutil.copytree(self.path, temporary, dirs_exist_ok=True)
                replace_folder(temporary, copy)
        return copy

    def __getstate__(self) -> dict[str, str]:
        return {"path": str(self.keep()), "digest": self.digest}

    def __setstate__(self, state: dict[str, str]) -> None:
        self.__init__(Path(state["path"]), state["digest"])  # type: ignore[misc]
