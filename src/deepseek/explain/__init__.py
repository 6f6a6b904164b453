"""Why a model answered as it did: additive attributions per raw column, checked, summed up, in words and as a page.

explainer = explainer_for(model, owners, score=runtime.score)
attribution = explainer.explain(features)                 exact for trees and linear parts, DeepLift for perceptrons
check_additivity(attribution)                             the residual is stored, never hidden
report = global_report(explainer, features, records)      importance, plots' points, checks
rows = row_reports(attribution, records)                  waterfalls and reasons of single rows
write_report("report.html", ...)                          one offline page
ModalityExplainer(runtime).explain(samples)                Shapley values of files, texts and their table
TextExplainer.open("./classifier").explain(texts)         what each token and sentence of a text adds
attribute(module, inputs, baselines)                      of any torch module or function, by a method that fits it
layer_path(module, inputs, baseline)                      a torch module's decision, layer by layer, with a ledger
explain_bundle("loans", "new.csv", html="why.html")       all of this for a bundle; deepseek.explain(...) is the same
cite(text, "laws/")                                       the clauses that support a text (the room cite/)
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from deepseek.extras import lazy_attributes

if TYPE_CHECKING:
    from deepseek.explain.bundle import explain_bundle
    from deepseek.explain.evaluation.faithfulness import evaluate_faithfulness, randomize_layers
    from deepseek.explain.media.texts import TextExplainer
    from deepseek.explain.modules.layer_path import layer_path
    from deepseek.explain.modules.layer_report import LayerPath
    from deepseek.explain.options import ExplainOptions
    from deepseek.explain.report.document import schema
    from deepseek.explain.report.explanation import BundleExplanation
    from deepseek.explain.report.page import write_report
    from deepseek.explain.report.summary import global_report, row_reports
    from deepseek.explain.shapley.partition import Budget
    from deepseek.explain.tabular.additivity import ablation, additivity, check_additivity
    from deepseek.explain.tabular.explainer import ModelExplainer, explainer_for
    from deepseek.explain.tabular.neighbors import counterfactual, nearest
    from deepseek.explain.tabular.reasons import reason_codes
    from deepseek.explain.values import attribute

__all__ = [
    "Budget",
    "BundleExplanation",
    "ExplainOptions",
    "LayerPath",
    "ModelExplainer",
    "TextExplainer",
    "ablation",
    "additivity",
    "attribute",
    "check_additivity",
    "counterfactual",
    "evaluate_faithfulness",
    "explain_bundle",
    "explainer_for",
    "global_report",
    "layer_path",
    "nearest",
    "randomize_layers",
    "reason_codes",
    "row_reports",
    "schema",
    "write_report",
]

_MODULES = {
    "Budget": "shapley.partition",
    "BundleExplanation": "report.explanation",
    "ExplainOptions": "options",
    "LayerPath": "modules.layer_report",
    "ModelExplainer": "tabular.explainer",
    "TextExplainer": "media.texts",
    "ablation": "tabular.additivity",
    "additivity": "tabular.additivity",
    "check_additivity": "tabular.additivity",
    "counterfactual": "tabular.neighbors",
    "attribute": "values",
    "explain_bundle": "bundle",
    "explainer_for": "tabular.explainer",
    "global_report": "report.summary",
    "layer_path": "modules.layer_path",
    "nearest": "tabular.neighbors",
    "randomize_layers": "evaluation.faithfulness",
    "reason_codes": "tabular.reasons",
    "row_reports": "report.summary",
    "schema": "report.document",
    "evaluate_faithfulness": "evaluation.faithfulness",
    "write_report": "report.page",
}

#: Names of the last release.
_RENAMED = {"explain": "attribute", "randomised": "randomize_layers", "trust": "evaluate_faithfulness"}

__getattr__ = lazy_attributes(__name__, _MODULES, _RENAMED)


class _CallablePackage(ModuleType):
    """This room has the name of a verb, and Python sets the package's attribute of that name to the room when it is
    first imported. So the room can be called: deepseek.explain(...) is explain_bundle(...), whatever was imported."""

    def __call__(
        self, path: str | Path, data: Any, options: ExplainOptions | None = None, **changes: Any
    ) -> BundleExplanation:
        """See explain_bundle()."""
        from deepseek.explain.bundle import explain_bundle

        return explain_bundle(path, data, options, **changes)


sys.modules[__name__].__class__ = _CallablePackage
