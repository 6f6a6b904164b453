"""How far an explanation can be trusted: measured on the model that it explains.

deletion, insertion   values go to the baseline (or come from it) in the order of their contributions; the area under
                      the answer against where 95 % of random orders lie (Petsiuk et al. 2018)
infidelity            mean square of (contributions of a random set) - (fall of the answer without it), as a share of
                      the mean square of the falls (Yeh et al. 2019, definition 2.1, with removal): 0 is perfect
sensitivity           the largest change of the explanation for inputs nearby, as a share of its size (definition 3.1)
agreement             with a second method: rank correlation, and how many of the five strongest they share
randomize_layers()          weights are shuffled layer after layer from the answer down; an explanation that stays as
it was
                      does not explain the weights (Adebayo et al. 2018, section 3.1)

Shapes: N rows, P values.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deepseek.contracts import Attribution, Float64
from deepseek.errors import InputError
from deepseek.explain.evaluation.masking_curves import (
    FaithfulnessConfig,
    attribution_agreement,
    infidelity,
    masking_curve,
    rank_correlation,
)
from deepseek.explain.evaluation.records import ModuleFaithfulness, RandomizationStep
from deepseek.explain.modules.problem import (
    AttributionProblem,
    FixedInputs,
    ModelInputs,
    Target,
    as_tuple,
    build_problem,
)

ExplainFunction = Callable[[ModelInputs], Attribution]


def evaluate_faithfulness(
    model: Callable[..., Any],
    inputs: ModelInputs,
    attribution: Attribution,
    baseline: ModelInputs | None = None,
    target: Target = None,
    *,
    explain: ExplainFunction | None = None,
    second: Attribution | None = None,
    fixed: FixedInputs | None = None,
    checks: FaithfulnessConfig | None = None,
) -> list[ModuleFaithfulness]:
    """For each row {"deletion", "insertion", "infidelity", "sensitivity", "agreement", "num_evaluations"}.

    `attribution` is that of `inputs` (N, P); `baseline` what absence means here, one row. `explain` makes the
    explanation of other inputs, as `lambda rows: explain(model, rows, baselines, target)`: without it there is no
    sensitivity, nor for token ids. `second` is the same explained by another method. InputError for an attribution of
    other inputs.
    """
    config = checks or FaithfulnessConfig()
    problem = build_problem(model, inputs, baseline, target, fixed)
    width = sum(each[0].numel() for each in problem.inputs)
    if attribution.values.shape != (problem.num_rows, width):
        raise InputError(
            f"the attribution has shape {attribution.values.shape}", expected=f"({problem.num_rows}, {width})",
            fix="give that of these inputs",
        )  # fmt: skip
    with torch.no_grad():
        targets = problem.target_of(problem.answer([each.clone() for each in problem.inputs]))
    changes = _max_sensitivity(problem, attribution, explain, config)
    measures = []
    for row in range(problem.num_rows):
        values = attribution.values[row]
        evaluate = _MaskedAnswer(problem.rows(slice(row, row + 1)), int(targets[row]))
        rng = np.random.default_rng(config.seed)
        deletion = masking_curve(evaluate, values, config, rng, deletes=True)
        insertion = masking_curve(evaluate, values, config, rng, deletes=False)
        infidelity_of_row = infidelity(evaluate, values, config, rng)
        measures.append(
            ModuleFaithfulness(
                deletion, insertion, infidelity_of_row, None if changes is None else float(changes[row]),
                None if second is None else attribution_agreement(values, second.values[row]), evaluate.count,
            )
        )  # fmt: skip
    return measures


class _MaskedAnswer:
    """The explained answer of one row, where some of its values are those of the baseline."""

    def __init__(self, problem: AttributionProblem, target: int) -> None:
        self.problem, self.target, self.count = problem, target, 0

    def __call__(self, masks: NDArray[np.bool_]) -> Float64:
        """The explained answer (M,) to masks (M, P), which are true where a value stays."""
        self.count += len(masks)
        answers = []
        for start in range(0, len(masks), 64):
            some = torch.as_tensor(masks[start : start + 64])
            mixed, low = [], 0
            for own, base in zip(self.problem.inputs, self.problem.baselines, strict=True):
                mask = some[:, low : low + own[0].numel()].view(-1, *own.shape[1:]).to(own.device)
                mixed.append(torch.where(mask, own, base))
                low += own[0].numel()
            with torch.no_grad():
                outputs = self.problem.answer(mixed, times=len(some))
            answers.append(outputs[:, self.target].double().cpu().numpy())
        return np.concatenate(answers)


def _max_sensitivity(
    problem: AttributionProblem, attribution: Attribution, explain: ExplainFunction | None, checks: FaithfulnessConfig
) -> Float64 | None:
    """Largest change (N,) of each row's explanation for inputs nearby, as a share of its size; None without
    `explain`."""
    if explain is None or not all(each.is_floating_point() for each in problem.inputs):
        return None
    rng = torch.Generator().manual_seed(checks.seed)
    worst = np.zeros(problem.num_rows)
    size = np.maximum(np.linalg.norm(attribution.values, axis=1), 1e-12)
    for _ in range(checks.num_near):
        moved = tuple(
            own + checks.radius * (own - base) * (2 * torch.rand(own.shape, generator=rng).to(own) - 1)
            for own, base in zip(problem.inputs, problem.baselines, strict=True)
        )
        near = explain(moved[0] if len(moved) == 1 else moved).values
        worst = np.maximum(worst, np.linalg.norm(near - attribution.values, axis=1) / size)
    return worst


def randomize_layers(
    module: nn.Module, inputs: ModelInputs, explain: Callable[[nn.Module, ModelInputs], Attribution], *, seed: int = 0
) -> list[RandomizationStep]:
    """Cascading randomization: [{"layer", "similarity"}, ...] from the layer nearest to the answer down, each with all
    before it. Similarity is the mean rank correlation of the sizes of contributions with those of the module as it is.
    The module is copied, not changed.

    A similarity near 1 in the last line says that the explanation hardly depends on what the module has learned.
    """
    rows = as_tuple(inputs)
    first = rows[0] if len(rows) == 1 else rows
    truth = np.abs(explain(module, first).values)
    shuffled = copy.deepcopy(module)
    rng = torch.Generator().manual_seed(seed)
    steps = []
    layers = [(name, part) for name, part in shuffled.named_modules() if list(part.parameters(recurse=False))]
    for name, part in reversed(layers):
        with torch.no_grad():
            for weights in part.parameters(recurse=False):
                _shuffle_in_place(weights, rng)
        values = np.abs(explain(shuffled, first).values)
        similar = [rank_correlation(one, other) for one, other in zip(truth, values, strict=True)]
        steps.append(RandomizationStep(name, float(np.mean(similar))))
    return steps


def _shuffle_in_place(weights: Tensor, rng: torch.Generator) -> None:
    """Permute the numbers of a tensor, so that nothing grows."""
    order = torch.randperm(weights.numel(), generator=rng).to(weights.device)
    weights.copy_(weights.flatten()[order].view(weights.shape))
