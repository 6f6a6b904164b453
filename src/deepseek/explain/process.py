"""The process that explains what a server answers: opens bundles with their explainers, and explains rows.

    python -m deepseek.explain.process FD        FD: an inherited socket, as of an engine process

A process of its own: explaining a row of a deep forest takes as long as a thousand predictions, which do not wait then.
Nor do they where cores are few: once it has opened a model, the process gives way to others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from deepseek.contracts import Arrays
from deepseek.engines import Runtime
from deepseek.engines.first_run import use_limits_of
from deepseek.engines.process.attributions import explain_rows
from deepseek.engines.process.served_model import ServedModel, check_digest
from deepseek.engines.process.worker import run_worker
from deepseek.explain.priority import lower_priority
from deepseek.explain.tabular.explainer import ModelExplainer, explainer_for

if TYPE_CHECKING:
    from deepseek.engines import MultimodalRuntime
    from deepseek.engines.text import TextEngine, TextModel
    from deepseek.explain.media.request_rows import PartsExplainer


class TableExplainerWorker:
    """Prepared features (N, F) and the classes to explain to attributions, packed as explain_rows() does."""

    def __init__(self, runtime: Runtime, explainer: ModelExplainer) -> None:
        self._runtime = runtime
        self._explainer = explainer

    @classmethod
    def open(cls, spec: Mapping[str, Any]) -> TableExplainerWorker:
        """IntegrityError when the folder no longer holds the bundle that is served; ExtraError where trees cannot be
        explained."""
        runtime = Runtime.from_spec(spec["path"], spec.get("lossy"))
        check_digest(runtime, spec["path"], spec["digest"])
        # The score of the engine that serves: then the residual covers the difference between engines too.
        explainer = explainer_for(runtime.model, runtime.preprocessor.owners(), score=runtime.score)
        explainer.explain(runtime.prepare([runtime.example]).features)  # no request pays for the first time
        return cls(runtime, explainer)

    def run(self, arrays: Arrays) -> Arrays:
        return explain_rows(self._explainer, self._explainer.model.labels, arrays)

    def close(self) -> None:
        self._runtime.close()


class MultimodalExplainerWorker:
    """Rows of several modalities as data.sent packs them, and the classes to explain, to attributions; with parts of
    files and texts where the texts come beside them."""

    def __init__(self, runtime: MultimodalRuntime, explainer: PartsExplainer) -> None:
        self._runtime = runtime
        self._explainer = explainer
        self.close = runtime.close

    @classmethod
    def open(cls, spec: Mapping[str, Any]) -> MultimodalExplainerWorker:
        """IntegrityError as above; InputError for a bundle that does not say what it answers to nothing."""
        from deepseek.engines import MultimodalRuntime
        from deepseek.explain.media.modalities import ModalityExplainer
        from deepseek.explain.media.request_rows import PartsExplainer

        runtime = MultimodalRuntime.open(spec["path"])
        check_digest(runtime, spec["path"], spec["digest"])
        return cls(runtime, PartsExplainer(ModalityExplainer(runtime)))

    def run(self, arrays: Arrays) -> Arrays:
        return explain_rows(self._explainer, self._runtime.labels, arrays)


class TextExplainerWorker:
    """Texts as pack_texts() packs them, and the classes to explain, to attributions with the parts of each text."""

    def __init__(self, model: TextModel, engine: TextEngine) -> None:
        from deepseek.explain.media.texts import TextExplainer
        from deepseek.explain.shapley.partition import SERVING_BUDGET

        self._labels, self._explainer = model.labels, TextExplainer(model, engine.run, SERVING_BUDGET)
        self._explainer.explain([model.example["text"]])  # no request pays for the first time
        self.close = engine.close

    @classmethod
    def open(cls, spec: Mapping[str, Any]) -> TextExplainerWorker:
        """Open the text model with the engine's own precision, so that what is explained is what was answered."""
        from deepseek.engines.text import TextEngine, TextModel

        return cls(TextModel.open(spec["path"]), TextEngine.from_options(spec["path"], spec["options"]))

    def run(self, arrays: Arrays) -> Arrays:
        return explain_rows(self._explainer, self._labels, arrays)


_WORKERS: Mapping[str, Callable[[Mapping[str, Any]], ServedModel]] = {
    "samples": MultimodalExplainerWorker.open,
    "text": TextExplainerWorker.open,
}


def open_explainer(spec: Mapping[str, Any]) -> ServedModel:
    """The worker that explains the model of a spec, in a process of lower priority."""
    with use_limits_of(spec.get("first_run")):
        opened = _WORKERS.get(spec["kind"], TableExplainerWorker.open)(spec)
    lower_priority()
    return opened


if __name__ == "__main__":
    run_worker(open_explainer)
