"""How sure the net is after each layer, and what happens when a layer's units are taken away.

logit lens    the layer's values put in the place of the last layer of the same residual stream and carried to the
              answer by the rest of the net (nostalgebraist 2020; Belrose et al. 2023, arXiv 2303.08112, section 2)
linear rest   elsewhere: f(baseline) + slope of the rest of the net at the baseline * change of the layer: what the
              layers up to here have moved, if those behind them went on answering as they do to the baseline

The margin is that of the explained class over the strongest other one; of a single output it is the output.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from deepseek.explain.modules.activations import ActivationPatch, run_patched
from deepseek.explain.modules.cuts import PathCounts
from deepseek.explain.modules.layer_traces import LayerTrace, TracedLayer, move_rows_first, run_forward, sum_rows
from deepseek.explain.modules.paired_forward import twin_of
from deepseek.explain.modules.problem import AttributionProblem
from deepseek.explain.modules.units import sum_by_unit, unit_mask

ABLATED_SHARE = 0.2  # of a layer's units that an ablation takes away


@dataclass(frozen=True, slots=True)
class Ablation:
    """What a layer's ablation did, (N,) each."""

    predicted: Tensor  # contributions of the units taken away
    measured: Tensor  # the fall of the explained output
    random: Tensor  # the same for as many units by chance


def class_margin(answer: Tensor, target: Tensor) -> Tensor:
    """Margin (N,) of the class `target` (N,) over the strongest other one, of answers (N, K)."""
    if answer.shape[1] == 1:
        return answer[:, 0]
    own = answer.gather(1, target[:, None])[:, 0]
    return own - answer.scatter(1, target[:, None], -torch.inf).amax(1)


def layer_value(ends: LayerTrace, layer: TracedLayer, *, is_base: bool = False) -> Tensor | None:
    """A layer's values for the inputs, or for the baselines, as they lie in the net. `ends` is a trace of pairs."""
    place = ends.run.place_of(layer)
    if place is None:
        return None
    if layer.kind == "input":
        leaf = ends.run.record.leaves[place]
        return leaf.tensor.detach() - leaf.change if is_base else leaf.tensor.detach()
    tensor = ends.run.tensors[place]
    other = twin_of(tensor)
    return tensor.detach() if not is_base or other is None else other


def layer_margins(
    problem: AttributionProblem, trace: LayerTrace, ends: LayerTrace, *, max_rows: int
) -> list[tuple[Tensor | None, str]]:
    """For each layer (margin (N,) or None, how). `ends` is a trace of pairs of the same problem."""
    lens = _logit_lens_margins(problem, trace, ends, max_rows)
    rest = _linear_rest_margins(problem, trace, ends)
    margins: list[tuple[Tensor | None, str]] = []
    for place, layer in enumerate(trace.layers):
        if trace.run.tensors[layer.place] is trace.run.answer:
            margins.append((class_margin(trace.answer, trace.target), "the answer"))
        elif place in lens:
            margins.append((lens[place], "logit lens"))
        elif place in rest:
            margins.append((rest[place], "linear rest"))
        else:
            margins.append((None, ""))
    return margins


def _logit_lens_margins(
    problem: AttributionProblem, trace: LayerTrace, ends: LayerTrace, max_rows: int
) -> dict[int, Tensor]:
    """Margins of the layers that the lens fits."""
    cuts = [place for place, layer in enumerate(trace.layers) if layer.is_cut and layer.key is not None]
    tensors = [trace.run.tensors[trace.layers[place].place] for place in cuts]
    lasts: dict[int, int] = {}  # place of a layer -> that of the last of its stream
    for at in reversed(range(len(cuts))):
        if cuts[at] in lasts:
            continue
        streams = PathCounts.in_same_stream(tensors[at], tensors[:at])
        same = [cuts[other] for other in range(at) if streams[other] and tensors[other].shape == tensors[at].shape]
        if same:
            lasts |= dict.fromkeys([*same, cuts[at]], cuts[at])
    places, patches = list[int](), list[ActivationPatch]()
    for place, last in lasts.items():
        value, key = layer_value(ends, trace.layers[place]), trace.layers[last].key
        if value is not None and key is not None:
            places.append(place)
            patches.append(ActivationPatch(key, value))
    answers = run_patched(problem, patches, max_rows=max_rows)
    return {
        place: class_margin(answer, trace.target)
        for place, answer in zip(places, answers, strict=True)
        if answer is not None
    }


def _linear_rest_margins(problem: AttributionProblem, trace: LayerTrace, ends: LayerTrace) -> dict[int, Tensor]:
    """Margins of all layers that the whole answer passes through."""
    num_rows = len(trace.target)
    run = run_forward(problem, torch.zeros(1, num_rows, dtype=torch.float64))
    target, answer = trace.target, trace.answer
    margin = problem.of(run.answer, target)
    if answer.shape[1] > 1:
        rival = answer.scatter(1, target[:, None], -torch.inf).argmax(1)
        margin = margin - problem.of(run.answer, rival)
    grads, margins = run.grads(margin, keep=False), dict[int, Tensor]()
    for place, layer in enumerate(trace.layers):
        at = run.place_of(layer)
        value, base = layer_value(ends, layer), layer_value(ends, layer, is_base=True)
        if not layer.is_cut or at is None or value is None or base is None:
            continue
        grad, change = move_rows_first(grads[at], num_rows), move_rows_first(value - base, num_rows)
        if grad.shape == change.shape and len(grad) == num_rows:
            margins[place] = margin.detach() + sum_rows(grad * change).to(margin)
    return margins


def ablate_layers(
    problem: AttributionProblem, trace: LayerTrace, ends: LayerTrace, *, seed: int, max_rows: int
) -> dict[int, Ablation]:
    """For each layer that the whole answer passes through: its strongest units, and as many by chance, get the values
    that they have for the baseline."""
    rng = torch.Generator().manual_seed(seed)
    places, patches, predicted = list[int](), list[ActivationPatch](), list[Tensor]()
    for place, layer in enumerate(trace.layers):
        part, value, base = trace.parts[layer.place], layer_value(ends, layer), layer_value(ends, layer, is_base=True)
        if not layer.is_cut or layer.key is None or value is None or base is None or part.shape != value.shape:
            continue
        units = sum_by_unit(layer, part)
        count = max(1, round(ABLATED_SHARE * units.shape[1]))
        top = units.abs().topk(count, dim=1).indices
        chance = torch.rand(units.shape, generator=rng).topk(count, dim=1).indices.to(top.device)
        for chosen in (top, chance):
            patches.append(ActivationPatch(layer.key, torch.where(unit_mask(layer, part, chosen), base, value)))
        places.append(place)
        predicted.append(units.gather(1, top).sum(1))
    answers = run_patched(problem, patches, max_rows=max_rows)
    own, ablations = problem.of(trace.answer, trace.target), dict[int, Ablation]()
    for at, place in enumerate(places):
        without, by_chance = answers[2 * at], answers[2 * at + 1]
        if without is not None and by_chance is not None:
            falls = [own - problem.of(each, trace.target) for each in (without, by_chance)]
            ablations[place] = Ablation(predicted[at], *falls)
    return ablations
