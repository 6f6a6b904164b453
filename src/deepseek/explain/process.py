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
from deepseek.engines.first_run import limits_of
from deepseek.engines.process.answering import answer
from deepseek.engines.process.attributions import explain_rows
from deepseek.engines.process.opened import Opened, check_digest
from deepseek.explain.priority import give_way
from deepseek.explain.tabular.explainer import ModelExplainer, explainer_for

if TYPE_CHECKING:
    from deepseek.engines import FusedRuntime
    from deepseek.engines.text import TextEngine, TextModel
    from deepseek.explain.media.request_rows import PartsExplainer


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


class OpenedModalities:
    """Rows of several modalities as data.sent packs them, and the classes to explain, to attributions; with parts of
    files and texts where the texts come beside them."""

    def __init__(self, runtime: FusedRuntime, explainer: PartsExplainer) -> None:
        self._runtime = runtime
        self._explainer = explainer
        self.close = runtime.close

    @classmethod
    def open(cls, spec: Mapping[str, Any]) -> OpenedModalities:
        """IntegrityError as above; InputError for a bundle that does not say what it answers to nothing."""
        from deepseek.engines import FusedRuntime
        from deepseek.explain.media.modalities import ModalityExplainer
        from deepseek.explain.media.request_rows import PartsExplainer

        runtime = FusedRuntime.open(spec["path"])
        check_digest(runtime, spec)
        return cls(runtime, PartsExplainer(ModalityExplainer(runtime)))

    def run(self, arrays: Arrays) -> Arrays:
        return explain_rows(self._explainer, self._runtime.labels, arrays)


class OpenedTexts:
    """Texts as pack_texts() packs them, and the classes to explain, to attributions with the parts of each text."""

    def __init__(self, model: TextModel, engine: TextEngine) -> None:
        from deepseek.explain.media.texts import TextExplainer
        from deepseek.explain.shapley.partition import SERVED

        self._labels, self._explainer = model.labels, TextExplainer(model, engine.run, SERVED)
        self._explainer.explain([model.example["text"]])  # no request pays for the first time
        self.close = engine.close

    @classmethod
    def open(cls, spec: Mapping[str, Any]) -> OpenedTexts:
        """With the engine's own precision, so that what is explained is what was answered."""
        from deepseek.engines.text import TextEngine, TextModel

        return cls(TextModel.open(spec["path"]), TextEngine.from_options(spec["path"], spec["options"]))

    def run(self, arrays: Arrays) -> Arrays:
        return explain_rows(self._explainer, self._labels, arrays)


_KINDS: Mapping[str, Callable[[Mapping[str, Any]], Opened]] = {
    "samples": OpenedModalities.open,
    "text": OpenedTexts.open,
}


def open_explainer(spec: Mapping[str, Any]) -> Opened:
    """What explains the model that a front end describes."""
    with limits_of(spec):
        opened = _KINDS.get(spec["kind"], OpenedExplainer.open)(spec)
    give_way()
    return opened


if __name__ == "__main__":
    answer(open_explainer)
