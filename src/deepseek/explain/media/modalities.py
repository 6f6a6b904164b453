"""What each column of files and texts, and the table beside them, has added to one answer: Shapley values by masking.

    explainer = ModalityExplainer(runtime)
    attribution = explainer.explain(samples, target="yes")        # names: "scan", "note", "table"

A column is taken away by its mask, so v(S) is the very answer that the bundle gives to the row with the values outside
of S missing. Without any value there is no answer (such a row is refused, and training never saw one), so v of nothing
is the share of each class among the training rows, or the mean of the values. A column that is missing in the row gets
0; all columns that are no files and no texts are one, "table", because they have one mask.

    value of i = sum over S without i of |S|! (k - |S| - 1)! / k! * (v(S + i) - v(S)),        k columns that are there

Up to MAX_EXACT_COLUMNS columns that is computed as it stands; above them over random orders and their reverses, with
the standard error in `method`. Either way the values add up to output - base exactly.

Source: Shapley 1953; sampled in pairs, Mitchell et al. 2022 (arXiv 2104.12199), section 4.1. Shapes: N rows, P columns.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from math import factorial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Arrays, Attribution, Float64, Tensors
from deepseek.data.samples.preparer import PRESENT_SUFFIX, TABLE_ARRAY
from deepseek.engines.multimodal.runtime import GRAPH
from deepseek.errors import InputError
from deepseek.look.numbers import number

if TYPE_CHECKING:
    from deepseek.engines import MultimodalRuntime

MAX_EXACT_COLUMNS = 8  # columns up to which every subset is asked: 256 answers a row
NUM_ORDERS = 64  # of columns, above: in pairs of an order and its reverse
ANSWERS_PER_CHUNK = 64  # answers that are computed at a time
Masks = NDArray[np.bool_]
ValueFunction = Callable[[Masks], Float64]  # masks (S, k) -> v (S,)
ArraySubstitution = Callable[[NDArray[np.int64]], Arrays]  # lines -> arrays of so many samples


class ModalityExplainer:
    """Meets contracts.Explainer, with samples for features. Safe to call from several threads."""

    def __init__(self, runtime: MultimodalRuntime) -> None:
        """InputError for a bundle that does not say what it would answer without any value."""
        self._runtime = runtime
        preparer = self.preparer = runtime.preparer
        #: The arrays that are masked together: a film goes with its sound.
        self._arrays = {column.name: tuple(column.arrays) for column in preparer.media}
        if preparer.table is not None:
            self._arrays[TABLE_ARRAY] = (TABLE_ARRAY,)
        self.names = tuple(self._arrays)
        self._without = _prior_margins(runtime)

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes in order; empty for a value."""
        return self._runtime.labels

    @property
    def graph(self) -> bytes:
        """The bundle's ONNX graph."""
        return self._runtime.bundle.read(GRAPH)

    def with_graph(self, graph: bytes) -> ModalityExplainer:
        """The explainer of the same bundle with another graph."""
        return ModalityExplainer(self._runtime.with_graph(graph))

    def unpack(self, arrays: Arrays) -> Tensors:
        """Samples of rows as data.sent packs them. Raises why one of them cannot be read."""
        return self._runtime.unpack_samples(arrays)

    def explain(self, features: Tensors, *, target: str | None = None) -> Attribution:
        """Attributions of N samples. `target` is a class: by default the positive class of two, and the class predicted
        for the first row among many. InputError for a class that the model does not know."""
        labels = self._runtime.labels
        if target is not None and target not in labels:
            raise InputError(
                f"there is no class {target!r}", expected=", ".join(labels) or "no class: the model predicts a value",
                fix="leave target out, or name one of these",
            )  # fmt: skip
        whole = self._runtime.score(features)
        if labels and target is None:
            target = labels[1] if len(labels) == 2 else labels[int(whole.output[0].argmax())]
        output = self._margin(whole.margin.astype(np.float64), target)
        base = float(self._margin(self._without[None], target)[0])
        values, error = np.zeros((len(features), len(self.names))), 0.0
        for row in range(len(features)):
            present = self.present(features[row : row + 1])
            value = partial(self._values, features[row : row + 1], present, target)
            row_values, off = shapley_values(value, int(present.sum()), base, float(output[row]), seed=row)
            values[row, present], error = row_values, max(error, off)
        return Attribution(
            names=self.names, values=values, base_value=np.full(len(features), base), output=output,
            scale="log-odds" if labels else "target units", method=self.method(error), target=target,
        )  # fmt: skip

    def method(self, error: float = 0.0) -> str:
        """How, in words. `error`: the largest standard error of a value."""
        words = "Shapley values of columns by masking; base value: "
        words += "class shares in training" if self._runtime.labels else "mean in training"
        return words + (f"; {NUM_ORDERS} sampled orders, standard error up to {number(error)}" if error else "; exact")

    def answers(
        self, sample: Tensors, seen: Masks, target: str | None, instead: ArraySubstitution | None = None
    ) -> Float64:
        """Answers v (S,) to one sample without the columns that each line of `seen` (S, P) lacks. `instead` makes
        arrays that stand for those of the sample, of some of the lines."""
        margins = np.full(len(seen), self._margin(self._without[None], target)[0])
        lines = np.flatnonzero(seen.any(1))
        for start in range(0, len(lines), ANSWERS_PER_CHUNK):
            rows = lines[start : start + ANSWERS_PER_CHUNK]
            masked = self._mask_sample(sample, seen[rows], {} if instead is None else instead(rows))
            margins[rows] = self._margin(self._runtime.score(masked).margin.astype(np.float64), target)
        return margins

    def classes(self, sample: Tensors, seen: Masks) -> NDArray[np.int64]:
        """Places (S,) of the predicted classes of one sample without the columns that each line of `seen`
        (S, P) lacks; each line has one at least."""
        outputs = [
            self._runtime.score(self._mask_sample(sample, seen[start : start + ANSWERS_PER_CHUNK], {})).output
            for start in range(0, len(seen), ANSWERS_PER_CHUNK)
        ]
        labels = self._runtime.decision.apply(np.concatenate(outputs), ()).labels
        assert labels is not None  # noqa: S101  (who asks knows that there are classes)
        return np.array([self._runtime.labels.index(label) for label in labels.tolist()])

    def present(self, sample: Tensors) -> Masks:
        """Mask (P,) of the columns that the row has."""
        return np.array([bool(sample.arrays[names[0] + PRESENT_SUFFIX][0]) for names in self._arrays.values()])

    def _values(self, sample: Tensors, present: Masks, target: str | None, masks: Masks) -> Float64:
        """v of subsets (S, k) of the columns that are there."""
        seen = np.zeros((len(masks), len(self.names)), bool)
        seen[:, present] = masks
        return self.answers(sample, seen, target)

    def _mask_sample(self, sample: Tensors, seen: Masks, instead: Arrays) -> Tensors:
        """A sample once for each line of `seen` (S, P), as it would be prepared without the other columns."""
        arrays: dict[str, NDArray[Any]] = {}
        for at, names in enumerate(self._arrays.values()):
            for name in names:
                array = instead.get(name, sample.arrays[name])
                keep = seen[:, at] & sample.arrays[name + PRESENT_SUFFIX][0]
                arrays[name] = np.where(keep.reshape(-1, *(1,) * (array.ndim - 1)), array, np.zeros((), array.dtype))
                arrays[name + PRESENT_SUFFIX] = keep
        return Tensors(arrays)

    def _margin(self, margin: Float64, target: str | None) -> Float64:
        """The explained margin (N,) from margins (N, K): the log-odds of `target` before calibration, or the value. The
        classes' margins have no zero of their own, so one of many is told against the others together."""
        if target is None:
            return margin[:, 0]
        place = self._runtime.labels.index(target)
        if margin.shape[1] == 1:
            return margin[:, 0] * (1 if place else -1)
        return log_odds(margin, place)


def log_odds(margin: Float64, place: int) -> Float64:
    """Log-odds (N,) of class `place` against the others together, from margins (N, K)."""
    others = np.delete(margin, place, axis=1)
    highest = others.max(1)
    with np.errstate(invalid="ignore"):  # infinite margins give NaN, which is refused where the values are checked
        odds: Float64 = margin[:, place] - highest - np.log(np.exp(others - highest[:, None]).sum(1))
    return odds


def shapley_values(
    value: ValueFunction, num: int, base: float, output: float, *, seed: int = 0
) -> tuple[Float64, float]:
    """Values (num,) and their largest standard error, 0 where they are exact.

    `value` of masks (S, num); `base` is that of no column, `output` that of all.

    >>> shapley_values(lambda masks: masks @ np.array([1.0, 2.0]) + 3.0 * masks.all(1), 2, 0.0, 6.0)
    (array([2.5, 3.5]), 0.0)
    """
    return (
        _exact_shapley(value, num, base, output)
        if num <= MAX_EXACT_COLUMNS
        else _sampled_shapley(value, num, base, output, seed)
    )


def _exact_shapley(value: ValueFunction, num: int, base: float, output: float) -> tuple[Float64, float]:
    masks = (np.arange(2**num)[:, None] >> np.arange(num)) % 2 == 1
    v = np.empty(2**num)
    v[0], v[-1] = base, output
    if num > 1:
        v[1:-1] = value(masks[1:-1])
    values = np.zeros(num)
    sizes = masks.sum(1)
    weights = np.array([factorial(s) * factorial(num - s - 1) / factorial(num) for s in range(num)])
    for player in range(num):
        without = np.flatnonzero(~masks[:, player])
        values[player] = (weights[sizes[without]] * (v[without | (1 << player)] - v[without])).sum()
    return values, 0.0


def _sampled_shapley(value: ValueFunction, num: int, base: float, output: float, seed: int) -> tuple[Float64, float]:
    draw = np.random.default_rng(seed)
    half = [draw.permutation(num) for _ in range(NUM_ORDERS // 2)]
    orders = np.array([order for one in half for order in (one, one[::-1])])  # (R, num)
    places = np.argsort(orders, 1)  # when a column joins
    masks = places[:, None, :] < np.arange(1, num)[None, :, None]  # (R, num - 1, num)
    v = value(masks.reshape(-1, num)).reshape(len(orders), num - 1)
    steps = np.diff(
        np.pad(v, ((0, 0), (1, 1)), constant_values=0.0) + _boundary_values(len(orders), num, base, output), axis=1
    )
    gains = np.take_along_axis(steps, places, 1).reshape(-1, 2, num).mean(1)  # (R / 2, num), by column
    error = gains.std(0, ddof=1) / np.sqrt(len(gains))
    return gains.mean(0), float(error.max())


def _boundary_values(num_orders: int, num: int, base: float, output: float) -> Float64:
    """Array (R, num + 1) with `base` before the first column and `output` after the last."""
    ends = np.zeros((num_orders, num + 1))
    ends[:, 0], ends[:, -1] = base, output
    return ends


def _prior_margins(runtime: MultimodalRuntime) -> Float64:
    """Margins (K,) of an answer that knows nothing: class shares, or the mean, turned back through the calibration."""
    top = json.loads(runtime.bundle.read("model.json"))
    if "prior" not in top:
        raise InputError(
            f"{runtime.name} does not say how often each class was there in training",
            expected="a bundle that this version has shipped", fix="ship it again",
        )  # fmt: skip
    prior = np.array(top["prior"], np.float64)
    if not runtime.labels:
        return prior
    slope, bias = float(top["calibration"]["slope"]), np.array(top["calibration"]["bias"], np.float64)
    wanted = np.log(prior[1:] / prior[:1]) if len(prior) == 2 else np.log(prior)
    margins: Float64 = (wanted - bias) / slope
    return margins
