"""The process that explains what a server answers: opens bundles with their explainers, and explains rows.

    python -m deepseek.explain.process FD        FD: an inherited socket, as of an engine process

A process of its own: explaining a row of a deep forest takes as long as a thousand predictions, which do not wait then.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deepseek.contracts import Arrays
from deepseek.engines import Runtime
from deepseek.engines.process.answering import answer
from deepseek.engines.process.attributions import explain_rows
from deepseek.engines.process.opened import check_digest
from deepseek.explain.explainer import ModelExplainer, explainer_for


class OpenedExplainer:
    """Prepared features (N, F) and the classes to explain to attributions, packed as explain_rows() does."""

    def __init__(self, runtime: Runtime, explainer: ModelExplainer) -> None:
        self._runtime = runtime
        self._explainer = explainer

    @classmethod
    def open(cls, spec: Mapping[str, Any]) -> OpenedExplainer:
        """IntegrityError when the folder no longer holds the bundle that is served; ExtraError where trees cannot be
        explained."""
        runtime = Runtime.from_spec(spec)
        check_digest(runtime, spec)
        # The score of the engine that serves: then the residual covers the difference between engines too.
        explainer = explainer_for(runtime.model, runtime.preprocessor.owners(), score=runtime.score)
        explainer.explain(runtime.prepare([runtime.example]).features)  # no request pays for the first time
        return cls(runtime, explainer)

    def run(self, arrays: Arrays) -> Arrays:
        return explain_rows(self._explainer, self._explainer.model.labels, arrays)

    def close(self) -> None:
        self._runtime.close()


if __name__ == "__main__":
    answer(OpenedExplainer.open)
