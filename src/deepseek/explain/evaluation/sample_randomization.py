"""The cascading check of a bundle of several modalities: is its explanation another when its graph's weights are?

    check = SampleRandomization(explainer, rows, limit_s=20.0, mask_s={"": 0.002, "scan": 0.004})
    check.seconds                 what it is expected to take
    steps, notes = check.lines()

Compared are the parts of texts, pictures, sounds and series, with fewer answers than the explanation had, for both, and
the columns: each where there are more than a few, for of three there are but six orders.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import perf_counter

import numpy as np

from deepseek.contracts import Float64, Record, Tensors
from deepseek.errors import ExtraError, InputError
from deepseek.explain.evaluation.masking_faithfulness import FEW_PLAYERS, mean_magnitude_correlation
from deepseek.explain.evaluation.model_randomization import (
    MAX_RANDOMIZATION_STEPS,
    LayerTensors,
    graph_layers,
    group_layers,
    randomize_graph,
)
from deepseek.explain.evaluation.records import RandomizationStep
from deepseek.explain.media.modalities import MAX_EXACT_COLUMNS, NUM_ORDERS, ModalityExplainer
from deepseek.explain.media.parts import split_columns
from deepseek.explain.shapley.partition import Budget
from deepseek.extras import need

MAX_RANDOMIZATION_ROWS = 3
RANDOMIZATION_BUDGET = Budget(num_evaluations=96)
SampleRow = tuple[Tensors, Record, str | None]


class SampleRandomization:
    """Randomization of the graph's weights, block after block: how many steps are affordable, and their outcome."""

    def __init__(
        self, explainer: ModalityExplainer, rows: Sequence[SampleRow], limit_s: float, mask_s: Mapping[str, float]
    ) -> None:
        """`mask_s`: seconds of one mask of the parts of each column, and under "" of columns."""
        self._explainer, self._rows = explainer, rows[:MAX_RANDOMIZATION_ROWS]
        self.count, self.seconds = 0, 0.0
        self._blocks: list[LayerTensors] = []
        self._why = ""
        try:
            self._graph = need("onnx", extra="compress").load_from_string(explainer.graph)
        except ExtraError as error:
            self._why = f"the model was not shuffled: {error}"
            return
        layers = graph_layers(self._graph)
        if not layers:
            self._why = "the model was not shuffled: its graph holds no weights but single numbers"
            return
        began_s = perf_counter()
        explainer.with_graph(explainer.graph)
        step_s = perf_counter() - began_s + self._expected_s(mask_s)
        most = min(len(layers), MAX_RANDOMIZATION_STEPS)
        num = int(np.clip((limit_s - self._expected_s(mask_s)) / max(step_s, 1e-9), 0, most))
        if not num:
            self._why = "the model was not shuffled, to keep to the time limit"
            return
        self._blocks = group_layers(layers, num)
        self.seconds = len(self._blocks) * step_s + self._expected_s(mask_s)

    def _expected_s(self, mask_s: Mapping[str, float]) -> float:
        num = len(self._explainer.names)
        columns = 2**num if num <= MAX_EXACT_COLUMNS else NUM_ORDERS * num
        parts = sum(each for name, each in mask_s.items() if name)
        return len(self._rows) * (columns * mask_s[""] + RANDOMIZATION_BUDGET.num_evaluations * parts)

    def lines(self, seed: int = 0) -> tuple[list[RandomizationStep], list[str]]:
        """Similarity after each step, which includes all steps before it; and notes on why there are none or fewer."""
        if not self._blocks:
            return [], [self._why]
        truth = self._compared_values(self._explainer)
        if not truth:
            return [], ["the model was not shuffled: its rows have one column without parts, and so nothing to compare"]
        steps: list[RandomizationStep] = []
        names: list[str] = []
        for name, tensors in self._blocks:
            names += tensors
            try:
                values = self._compared_values(
                    self._explainer.with_graph(randomize_graph(self._graph, names, seed=seed))
                )
            except InputError as error:  # whose answer is no number
                return steps, [f"the model was shuffled as far as {name}: {error}"]
            steps.append(RandomizationStep(name, mean_magnitude_correlation(truth, values)))
        return steps, []

    def _compared_values(self, explainer: ModalityExplainer) -> list[Float64]:
        """The values whose likeness is measured: of the parts of each column, and of the columns of each row."""
        columns, parts = [], []
        for sample, record, target in self._rows:
            values = explainer.explain(sample, target=target).values[0]
            present = explainer.present(sample)
            columns.append(values[present])
            self.count += (
                2 ** int(present.sum()) if present.sum() <= MAX_EXACT_COLUMNS else NUM_ORDERS * int(present.sum() - 1)
            )
            for column in split_columns(explainer, sample, record, values, target):
                owen = column.owen(RANDOMIZATION_BUDGET)
                self.count += owen.num_evaluations
                parts.append(owen.values)
        many = [each for each in (*parts, *columns) if len(each) > FEW_PLAYERS]
        return many or [each for each in (*parts, *columns) if len(each) > 1]
