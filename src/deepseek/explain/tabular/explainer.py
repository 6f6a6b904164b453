"""Why a model gave a margin: additive attributions per raw column, on the scale of the margin, before calibration.

    raw score of each part   base_p + sum_c values_pc                     parts.attribute, of raw columns c
    through its link g       m = (g(s) - g(base)) / (s - base),  g(base) + sum_c m values_pc = g(s)
    blend                    sum_p weight_p * (...)

The link is monotone, so its secant m keeps each sign and the order of the columns, and the sum exact (DeepLift's
Rescale rule for one input).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import numpy as np

from deepseek.contracts import Attribution, Float32, Float64, Scores
from deepseek.engines.tabular.trees import TreesEngine
from deepseek.errors import InputError
from deepseek.explain.tabular.parts import PartAttributor, ScoreAttribution, method_name, part_attributor
from deepseek.nn.model import Model, Part, apply_link

ScoreFunction = Callable[[Float32], Scores]

#: Below this distance between a score and its base, the secant is taken over this distance.
_MIN_SECANT_STEP = 1e-6


def explainer_for(
    model: Model, owners: Sequence[str], *, score: ScoreFunction | None = None, num_threads: int = 1,
    compiled: bool = False, once: bool = False,
) -> ModelExplainer:  # fmt: skip
    """An explainer for prepared features whose raw columns are `owners` (one a feature).

    `score` computes what is explained; give that of the engine that serves (Runtime.score), so that the residual also
    covers the difference between engines. By default the model's own arrays are run: ExtraError when they hold trees
    and xgboost is not installed. `compiled`: shallow trees by numba, which a few rows at a time cost a fifth by.
    `once`: for one call of some hundred rows, nothing is prepared for more of them.
    """
    return ModelExplainer(model, owners, score=score, num_threads=num_threads, compiled=compiled, once=once)


class ModelExplainer:
    """Meets contracts.Explainer. Safe to call from several threads."""

    def __init__(
        self, model: Model, owners: Sequence[str], *, score: ScoreFunction | None = None, num_threads: int = 1,
        compiled: bool = False, once: bool = False,
    ) -> None:  # fmt: skip
        self.model = model
        self.names = tuple(dict.fromkeys(owners))
        place = {name: index for index, name in enumerate(self.names)}
        self.column_of = np.array([place[owner] for owner in owners])  # (F,) place of a feature's column
        self._num_threads, self._compiled, self._once = num_threads, compiled, once
        self.score: ScoreFunction = score or TreesEngine(model, num_features=len(owners), num_threads=num_threads).score
        self._attributes: dict[tuple[int, int], PartAttributor] = {}
        self._making = threading.Lock()

    @property
    def method(self) -> str:
        """How, in words."""
        kinds = dict.fromkeys(map(method_name, self.model.parts))
        words = "; ".join(kinds)
        if len(self.model.parts) > 1:
            words += f"; weighted sum of {len(self.model.parts)} parts"
        if any(part.link == "log_odds" for part in self.model.parts):
            words += "; shares carried to log-odds by the secant of the link (Rescale rule)"
        return words

    def explain(self, features: Float32, *, target: str | None = None) -> Attribution:
        """Attributions for (N, F). `target` is a class: by default the positive class of two, and the class predicted
        for the first row among many. InputError for a class that the model does not know."""
        rows = np.ascontiguousarray(features, np.float32)
        scores = self.score(rows)
        margin, sign, target = self.find(target, scores)
        values, base = self._blend(rows, margin)
        return Attribution(
            names=self.names,
            values=sign * values,
            base_value=sign * base,
            output=sign * scores.margin[:, margin].astype(np.float64),
            scale=self.model.scale,
            method=self.method,
            target=target,
        )

    def margin(self, features: Float32, *, target: str | None = None) -> Float64:
        """What explain() explains, (N,), without the explanation."""
        scores = self.score(np.ascontiguousarray(features, np.float32))
        margin, sign, _ = self.find(target, scores)
        return sign * scores.margin[:, margin].astype(np.float64)

    def find(self, target: str | None, scores: Scores) -> tuple[int, int, str | None]:
        """The margin that explains `target`, as (margin, sign, class): the negative class of two has the margin of the
        other, with its sign turned."""
        labels = self.model.labels
        if target is not None and target not in labels:
            raise InputError(
                f"there is no class {target!r}",
                expected=", ".join(labels) or "no class: the model predicts a value",
                fix="leave target out, or name one of these",
            )
        if self.model.task == "regression":
            return 0, 1, None
        if self.model.task == "binary":
            target = target or labels[1]
            return 0, 1 if target == labels[1] else -1, target
        margin = labels.index(target) if target is not None else int(scores.output[0].argmax())
        return margin, 1, labels[margin]

    def _blend(self, rows: Float32, margin: int) -> tuple[Float64, Float64]:
        """Values (N, P) and base (N,) of the margin."""
        values, base = np.zeros((len(rows), len(self.names))), np.zeros(len(rows))
        for index, part in enumerate(self.model.parts):
            attribution = self.part_attribution(index, margin, rows)
            if part.link == "log_odds":
                attribution = rescale_link(part, self.model.num_margins, attribution)[1]
            values += part.weight * attribution.values
            base += part.weight * attribution.base
        return values, base

    def part_attribution(self, index: int, margin: int, rows: Float32) -> ScoreAttribution:
        """The raw score of one part, before its link and weight, by raw column: values (N, P)."""
        return self._attribute(index, margin)(rows)

    def _attribute(self, index: int, margin: int) -> PartAttributor:
        """The attributor of one part and margin, made when first needed: a deep forest's walk takes memory and
        seconds."""
        with self._making:
            if (index, margin) not in self._attributes:
                weights = self.model.parts[index].weights
                self._attributes[index, margin] = part_attributor(
                    weights, margin, column_of=self.column_of, num_threads=self._num_threads, compiled=self._compiled,
                    once=self._once,
                )  # fmt: skip
            return self._attributes[index, margin]


def rescale_link(part: Part, num_margins: int, raw: ScoreAttribution) -> tuple[Float64, ScoreAttribution]:
    """Carry attributions through the link: (secant (N,), attributions of a share as attributions of its log-odds (two
    classes) or its logarithm (many)).

    The secant reaches to the score itself, not to the sum of the values: near a share of 0 or 1 the link is so steep
    that their rounding would grow ten-thousandfold.
    """

    def link_share(share: Float64) -> Float64:
        # apply_link reads the number of classes from the width; the link works on each class by itself
        return apply_link(part, np.repeat(share[:, None], num_margins, axis=1))[:, 0]

    near = np.abs(raw.score - raw.base) < _MIN_SECANT_STEP
    far = np.where(near, raw.base + np.where(raw.base < 0.5, _MIN_SECANT_STEP, -_MIN_SECANT_STEP), raw.score)
    secant = (link_share(far) - link_share(raw.base)) / (far - raw.base)
    return secant, ScoreAttribution(secant[:, None] * raw.values, link_share(raw.base), link_share(raw.score))
