"""The decision, layer by layer: what every layer of a torch module contributes, with a ledger that has to balance.

    path = layer_path(module, inputs, baseline, target=None)
    path.ledger()                 each layer's sum against f(input) - f(baseline)
    path.decided_at               the layer after which each row's decision was final
    path.layers[3].units[0]       its strongest units, channels or heads, and what they contribute
    path.edges                    how they hand it on to the next layer

Nothing is scaled so that a sum fits. A layer beside a residual sum carries a part of the answer; "bypassed" is the
rest, and the ledger judges only layers that the whole answer passes through (cuts.py). Rules: layer_traces.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import torch

from deepseek.contracts import Float64
from deepseek.engines.keras_module import as_torch_module, is_keras_model, to_tensors
from deepseek.errors import ExplainError
from deepseek.explain.modules.fidelity.plain import PlainRun, plain_run_of_pairs
from deepseek.explain.modules.layer_records import LayerReport
from deepseek.explain.modules.layer_report import LayerPath
from deepseek.explain.modules.layer_traces import (
    LayerTrace,
    TracedLayer,
    TraceRule,
    distinct_row_count,
    run_forward,
    sum_rows,
    trace_layers,
)
from deepseek.explain.modules.margins import Ablation, ablate_layers, class_margin, layer_margins
from deepseek.explain.modules.path_integral import FIRST_STEPS
from deepseek.explain.modules.problem import AttributionProblem, FixedInputs, ModelInputs, Target, build_problem
from deepseek.explain.modules.units import Edge, edges_between, sum_by_unit, unit_axis

#: A layer's margin, how it was found, its ablation.
LayerExtras = tuple[torch.Tensor | None, str, Ablation | None]
_MAX_SOURCES = 4  # layers that one may join
TOLERANCE = 0.01  # of the change to be explained


@dataclass(frozen=True, slots=True)
class LayerPathOptions:
    """What layer_path computes beside the contributions."""

    tolerance: float = (
        TOLERANCE  # share of f(input) - f(baseline) that a layer's sum may miss; above it the ledger fails
    )
    num_top: int = 5  # units, channels or heads a layer
    edges: bool = True
    branch_edges: bool = False  # also into and out of layers beside a sum: as many backward passes more for each
    margins: bool = True
    ablation: bool = True
    max_steps: int = 288  # of the rule "integral", for each row
    max_rows: int = 256  # in one run of the module
    time_limit_s: float | None = None  # of the rule "integral"; what is late is partial
    seed: int = 0


def layer_path(
    module: Callable[..., Any],
    inputs: ModelInputs,
    baseline: ModelInputs | None = None,
    target: Target = None,
    *,
    fixed: FixedInputs | None = None,
    rule: Literal["auto", "pairs", "integral"] = "auto",
    options: LayerPathOptions | None = None,
) -> LayerPath:
    """What every layer contributes to f(inputs) - f(baseline).

    `inputs` (N, ...): one tensor or several, of real numbers or of token ids; `baseline`: one row of the same shape for
    all or one for each (default zeros). `target`: an output, a function of the module's answer that gives (N,), or None
    for the class that is predicted. `fixed`: keyword arguments of the module that are the same for both, as a mask.
    Of a model of Keras on torch the path has both ends alone, for its layers do not tell torch what they compute.
    `rule`: "pairs" costs one forward pass on both and one backward pass, "integral" 9 steps or more; "auto" takes
    pairs, and the integral where the ledger of pairs fails.

    Both ends, `output` and `base_value`, are those of plain runs of the module. InputError for what does not fit
    together, ExplainError for a module that does not answer the same when input and baseline run side by side (a branch
    in Python on data), CheckError when the ledger fails in the end. A path that ran out of time is returned as it is,
    with is_partial.

    >>> net = torch.nn.Sequential(torch.nn.Linear(2, 2, bias=False), torch.nn.ReLU())
    >>> _ = torch.nn.init.eye_(net[0].weight)
    >>> path = layer_path(net, torch.tensor([[2.0, 1.0]]), target=0)
    >>> [(layer.name, layer.values.tolist()) for layer in path.layers]
    [('input', [[2.0, 0.0]]), ('0', [[2.0, 0.0]]), ('1', [[2.0, 0.0]])]
    """
    options = options or LayerPathOptions()
    if is_keras_model(module):
        module, inputs, baseline = as_torch_module(module), to_tensors(inputs), to_tensors(baseline)
    problem = build_problem(module, inputs, baseline, target, fixed)
    num_rows = problem.num_rows
    plain = plain_run_of_pairs(problem, options.tolerance, options.max_rows)
    pairs = None if rule == "integral" else _try_pairs(problem, plain, options)
    run = pairs.run if isinstance(pairs, LayerTrace) else run_forward(problem, _input_step(num_rows))
    more = distinct_row_count(run.tensors, num_rows)
    if more > num_rows:  # an axis of steps is as long as that of the rows: a row more, which is left out in the end
        problem = problem.rows(torch.arange(more).clamp(max=num_rows - 1))
        plain = plain_run_of_pairs(problem, options.tolerance, options.max_rows)
        pairs = None if rule == "integral" else _try_pairs(problem, plain, options)
    trace, why = _choose_trace(problem, plain, rule, pairs, options)
    path = _build_path(problem, plain, trace, options, why, num_rows)
    return path if path.is_partial and options.time_limit_s is not None else path.check()


def _input_step(num_rows: int) -> torch.Tensor:
    """The step (1, N) at the end of the line from baseline to input."""
    return torch.ones(1, num_rows, dtype=torch.float64)


def _trace_rule(problem: AttributionProblem, plain: PlainRun, rule: TraceRule, options: LayerPathOptions) -> LayerTrace:
    return trace_layers(
        problem, rule, plain, max_steps=options.max_steps, max_rows=options.max_rows, time_limit_s=options.time_limit_s,
        keep=options.edges,
    )  # fmt: skip


def _try_pairs(problem: AttributionProblem, plain: PlainRun, options: LayerPathOptions) -> LayerTrace | ExplainError:
    """The trace by the rule of pairs, or why that does not fit."""
    try:
        return _trace_rule(problem, plain, "pairs", options)
    except ExplainError as error:
        return error


def _choose_trace(
    problem: AttributionProblem,
    plain: PlainRun,
    rule: str,
    pairs: LayerTrace | ExplainError | None,
    options: LayerPathOptions,
) -> tuple[LayerTrace, str]:
    """The trace to report, and why that one."""
    if pairs is None:
        return _trace_rule(problem, plain, "integral", options), "asked for"
    if isinstance(pairs, LayerTrace):
        if rule == "pairs":
            return pairs, "asked for"
        worst = _max_relative_residual(plain, pairs)
        if worst <= options.tolerance:
            return pairs, "the rule of pairs balances at every layer, and is the cheapest"
        because = f" (no rule for {', '.join(pairs.run.record.plain)})" if pairs.run.record.plain else ""
        return (
            _trace_rule(problem, plain, "integral", options),
            f"the rule of pairs misses {worst:.2g} of the change{because}"
        )  # fmt: skip
    if rule == "pairs":
        raise pairs
    try:
        return _trace_rule(problem, plain, "integral", options), f"the rule of pairs does not fit: {pairs.message}"
    except ExplainError as error:
        raise pairs from error


def _max_relative_residual(plain: PlainRun, trace: LayerTrace) -> float:
    """The largest relative residual of a cut; the inputs are one together."""
    sums = [sum_rows(trace.parts[layer.place]) for layer in trace.layers if layer.is_cut]
    inputs = [sum_rows(trace.parts[layer.place]) for layer in trace.layers if layer.kind == "input"]
    sums.append(torch.stack(inputs).sum(0))
    change = plain.output - plain.base
    relative = [np.abs(each.cpu().numpy() - change) / plain.scale for each in sums]
    return max(float(np.nan_to_num(each, nan=np.inf).max()) for each in relative)


def _build_path(
    problem: AttributionProblem, plain: PlainRun, trace: LayerTrace, options: LayerPathOptions, why: str, num_rows: int
) -> LayerPath:
    """The path of the first `num_rows` rows of a trace."""

    def rows(tensor: torch.Tensor, dtype: Any = np.float64) -> Any:
        some = tensor[:num_rows].detach().cpu()
        # NumPy knows no bfloat16; float32 holds all of its numbers.
        return (some.float() if some.dtype == torch.bfloat16 else some).numpy().astype(dtype)

    _check_finite(trace)
    change = torch.from_numpy(plain.output - plain.base).to(trace.answer.device)
    beside, left_out = _layer_extras(problem, plain, trace, options)
    layers = [
        _layer_report(layer, trace.parts[layer.place], change, options, extra, rows)
        for layer, extra in zip(trace.layers, beside, strict=True)
        if len(trace.parts[layer.place]) == len(change)
    ]
    margin = rows(class_margin(trace.answer, trace.target))
    steps = trace.integral
    return LayerPath(
        layers=tuple(layers), edges=tuple(edge for edge in _layer_edges(trace, options) if edge.row < num_rows),
        output=plain.output[:num_rows], base_value=plain.base[:num_rows],
        target=tuple(rows(trace.target, int).tolist()),
        margin=margin, decided_at=_decision_layers(layers, margin), method=RULE_NAMES[trace.rule], why=why,
        tolerance=options.tolerance, scale=plain.scale[:num_rows],
        num_steps=1 if steps is None else int(steps.num_steps.max()),
        is_partial=steps is not None and steps.is_partial, notes=(*_path_notes(trace, rows(change), layers), *left_out),
    )  # fmt: skip


def _check_finite(trace: LayerTrace) -> None:
    for layer in trace.layers:
        if not torch.isfinite(trace.parts[layer.place]).all():
            raise ExplainError(
                f"contributions of layer {layer.name!r} are not finite: the module has no slope there",
                expected="an operator that has one, where the answer depends on it",
                fix='explain it as a black box: explain(module, inputs, method="kernel")',
            )  # fmt: skip


def _layer_extras(
    problem: AttributionProblem, plain: PlainRun, trace: LayerTrace, options: LayerPathOptions
) -> tuple[list[LayerExtras], tuple[str, ...]]:
    """For each layer its margin, how that was found, and its ablation; and why they are left out where they are."""
    if not (options.margins or options.ablation):
        return [(None, "", None)] * len(trace.layers), ()
    try:
        ends = trace if trace.rule == "pairs" else _trace_ends(problem, plain, options)
    except ExplainError as error:
        return [(None, "", None)] * len(trace.layers), (f"margins and ablations are left out: {error.message}",)
    layer_margins_by: list[tuple[torch.Tensor | None, str]] = [(None, "")] * len(trace.layers)
    if options.margins:
        layer_margins_by = layer_margins(problem, trace, ends, max_rows=options.max_rows)
    removed: dict[int, Ablation] = {}
    if options.ablation:
        removed = ablate_layers(problem, trace, ends, seed=options.seed, max_rows=options.max_rows)
    return [(*margin, removed.get(place)) for place, margin in enumerate(layer_margins_by)], ()


def _layer_report(
    layer: TracedLayer,
    part: torch.Tensor,
    change: torch.Tensor,
    options: LayerPathOptions,
    beside: LayerExtras,
    rows: Callable[..., Any],
) -> LayerReport:
    margin, how, ablation = beside
    total = sum_rows(part)
    return LayerReport(
        name=layer.name, kind=layer.kind, is_cut=layer.is_cut, shape=tuple(part.shape[1:]),
        values=rows(part, np.float32), sum=rows(total), residual=rows(change - total),
        unit_name=unit_axis(layer, part)[1], units=_top_units(rows(sum_by_unit(layer, part)), options.num_top),
        margin=None if margin is None else rows(margin), margin_by=how,
        ablation=None if ablation is None
        else {name: rows(getattr(ablation, name)) for name in ("predicted", "measured", "random")},
    )  # fmt: skip


RULE_NAMES = {
    "pairs": "secants between input and baseline (DeepLIFT's Rescale rule, for every operation), one forward and one "
    "backward pass",
    "integral": "path integral from baseline to input (layer conductance), steps by the known error",
}


def _trace_ends(problem: AttributionProblem, plain: PlainRun, options: LayerPathOptions) -> LayerTrace:
    """A trace whose run holds input and baseline, for what is put in their places."""
    return trace_layers(problem, "pairs", plain, max_steps=0, max_rows=options.max_rows, time_limit_s=None, keep=False)


def _layer_edges(trace: LayerTrace, options: LayerPathOptions) -> list[Edge]:
    """Edges between neighbors among the layers that the whole answer passes through; with branch_edges from each layer
    to the next that reads it."""
    if not options.edges or _is_refined(trace):
        return []
    cuts = [place for place, layer in enumerate(trace.layers) if layer.is_cut]
    if not options.branch_edges or len(cuts) == len(trace.layers):
        return [edge for pair in pairwise(cuts) for edge in edges_between(trace, *pair, options.num_top)]
    edges: list[Edge] = []
    handed_on: set[int] = set()
    for target in range(1, len(trace.layers)):
        open_ends = [place for place in reversed(range(target)) if place not in handed_on][:_MAX_SOURCES]
        into = {place: edges_between(trace, place, target, options.num_top) for place in open_ends}
        if not any(into.values()):  # a branch that begins where another did
            source = next((place for place in reversed(cuts) if place < target), None)
            into = {} if source is None else {source: edges_between(trace, source, target, options.num_top)}
        handed_on |= {place for place, edges in into.items() if edges}
        edges += [edge for edges in into.values() for edge in edges]
    return edges


def _is_refined(trace: LayerTrace) -> bool:
    """Whether any row needed more than its first panel."""
    return trace.integral is not None and bool((trace.integral.num_steps > FIRST_STEPS).any())


def _top_units(units: Float64, num_top: int) -> tuple[tuple[tuple[int, float], ...], ...]:
    """The `num_top` strongest units of each row, as (place, contribution), of units (N, U)."""
    best = np.argsort(-np.abs(units), axis=1, kind="stable")[:, :num_top]
    values = np.take_along_axis(units, best, axis=1)
    return tuple(
        tuple(zip(places, contributions, strict=True))
        for places, contributions in zip(best.tolist(), values.tolist(), strict=True)
    )


def _decision_layers(layers: list[LayerReport], margin: Float64) -> tuple[str | None, ...]:
    """The first layer from which on the margin has the sign that it has in the end; None where no margin is known."""
    known = [layer for layer in layers if layer.margin is not None]
    decisions: list[str | None] = []
    for row, final in enumerate(margin):
        name = None
        for layer in reversed(known):
            if layer.margin is None or (layer.margin[row] > 0) != (final > 0):
                break
            name = layer.name
        decisions.append(name)
    return tuple(decisions)


def _path_notes(trace: LayerTrace, change: Float64, layers: list[LayerReport]) -> list[str]:
    notes = []
    if trace.run.record.plain and trace.rule == "pairs":
        notes.append(f"without a rule: {', '.join(trace.run.record.plain)}; their slope at the input stands for them")
    same = [
        row for row in range(len(change)) if change[row] == 0 and not any(each.values[row].any() for each in layers)
    ]
    if same:
        notes.append(f"the answer is the same for input and baseline in rows {same}: every contribution is 0")
    if trace.integral is not None and trace.integral.is_partial:
        most = int(trace.integral.num_steps.max())
        notes.append(f"partial: stopped after {most} steps with an error above the tolerance")
    if _is_refined(trace):
        notes.append("edges are left out: the integral has several panels, and the graph of one is kept")
    return notes
