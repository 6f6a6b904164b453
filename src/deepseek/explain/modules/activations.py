"""What every module of a net answers while it runs, and what the net would answer if a layer had answered otherwise.

with ActivationRecorder(module) as recorder:
    output = module(x)
recorder.activations               every tensor that a module gave, under its name, in the order in which they came
run_patched(problem, patches)      the answers with layers replaced, all replacements in one run
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from deepseek.explain.modules.paired_forward import RunRecord
from deepseek.explain.modules.problem import AttributionProblem

#: (module, which of its calls, which of its answers)
ActivationKey = tuple[str, int, int]


@dataclass(slots=True)
class Activation:
    """A tensor that a module gave, recorded once: the innermost module that gives it is the key, the outermost around
    that one the name."""

    key: ActivationKey
    name: str
    kind: str
    tensor: Tensor
    version: int

    @property
    def is_changed(self) -> bool:
        """Whether something wrote over it in place."""
        return self.tensor._version != self.version


@dataclass(slots=True)
class ActivationRecorder:
    """Records every tensor that a module gives, while it runs. `copied`: answers that are handed on as copies, so that
    what writes over them in place writes elsewhere."""

    module: nn.Module
    record: RunRecord | None = None
    copied: frozenset[ActivationKey] = frozenset()
    activations: list[Activation] = field(default_factory=list)
    _places: dict[int, int] = field(default_factory=dict)  # id of a tensor -> its place in activations
    _counts: dict[str, int] = field(default_factory=dict)
    _handles: list[Any] = field(default_factory=list)

    def __enter__(self) -> ActivationRecorder:
        for name, part in self.module.named_modules():
            if isinstance(part, (nn.ModuleList, nn.ModuleDict)):
                continue
            self._handles.append(part.register_forward_pre_hook(self._before(name)))
            self._handles.append(part.register_forward_hook(self._after(name, type(part).__name__)))
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _before(self, name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _args: Any) -> None:
            if self.record is not None:
                self.record.scope.append(name)

        return hook

    def _after(self, name: str, kind: str) -> Callable[..., Any]:
        def hook(_module: nn.Module, _args: Any, output: Any) -> Any:
            if self.record is not None:
                self.record.scope.pop()
            count = self._counts[name] = self._counts.get(name, -1) + 1
            tensors = output_tensors(output)
            copies = {
                place: tensor.clone() for place, tensor in enumerate(tensors) if (name, count, place) in self.copied
            }
            for place, tensor in enumerate(tensors):
                self._take((name, count, place), kind, tensor)
            return replace_tensors(output, copies) if copies else None

        return hook

    def _take(self, key: ActivationKey, kind: str, tensor: Tensor) -> None:
        if not (tensor.requires_grad and tensor.is_floating_point()) or tensor.grad_fn is None:
            return
        name = (key[0] or "answer") + (f" (call {key[1] + 1})" if key[1] else "") + (f" [{key[2]}]" if key[2] else "")
        place = self._places.get(id(tensor))
        if place is None:
            self._places[id(tensor)] = len(self.activations)
            self.activations.append(Activation(key, name, kind, tensor, tensor._version))
        elif key[0] and self.activations[place].key[0].startswith(
            f"{key[0]}."
        ):  # a module around it, but not the whole
            self.activations[place].name, self.activations[place].kind = name, kind


@dataclass(frozen=True, slots=True)
class ActivationPatch:
    """A value (N, ...) that a layer answers instead of its own."""

    key: ActivationKey
    value: Tensor


def run_patched(
    problem: AttributionProblem, patches: Sequence[ActivationPatch], *, max_rows: int = 256
) -> list[Tensor | None]:
    """For each patch the answer (N, K); None where the layer does not answer by rows. At most `max_rows` rows a run."""
    num_rows, answers = problem.num_rows, list[Tensor | None]()
    size = max(1, max_rows // num_rows)
    for start in range(0, len(patches), size):
        group = patches[start : start + size]
        done: set[int] = set()
        handles, counts = [], dict[str, int]()
        for name, part in problem.module.named_modules():  # type: ignore[attr-defined]
            mine = [(place, patch) for place, patch in enumerate(group) if patch.key[0] == name]
            if mine:
                handles.append(part.register_forward_hook(_patch_hook(name, mine, counts, done, num_rows, len(group))))
        try:
            with torch.no_grad():
                inputs = [each.repeat(len(group), *(1 for _ in each.shape[1:])) for each in problem.inputs]
                answer = problem.answer(inputs, times=len(group))
        finally:
            for handle in handles:
                handle.remove()
        answers += [each if place in done else None for place, each in enumerate(answer.view(len(group), num_rows, -1))]
    return answers


def _patch_hook(
    name: str,
    mine: list[tuple[int, ActivationPatch]],
    counts: dict[str, int],
    done: set[int],
    num_rows: int,
    num_runs: int,
) -> Callable[..., Any]:
    def hook(_module: nn.Module, _args: Any, output: Any) -> Any:
        count = counts[name] = counts.get(name, -1) + 1
        tensors, changed = output_tensors(output), dict[int, Tensor]()
        for place, patch in mine:
            if patch.key[1] != count or patch.key[2] >= len(tensors):
                continue
            tensor = changed.get(patch.key[2], tensors[patch.key[2]])
            if tensor.shape[0] != num_runs * num_rows or tensor.shape[1:] != patch.value.shape[1:]:
                continue
            tensor = tensor.clone()
            tensor[place * num_rows : (place + 1) * num_rows] = patch.value
            changed[patch.key[2]] = tensor
            done.add(place)
        return replace_tensors(output, changed) if changed else None

    return hook


def output_tensors(output: Any) -> list[Tensor]:
    """The tensors of a module's answer, in order."""
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, dict):
        output = list(output.values())
    if isinstance(output, (tuple, list)):
        return [tensor for each in output for tensor in output_tensors(each)]
    return []


def replace_tensors(output: Any, values: dict[int, Tensor]) -> Any:
    """A module's answer with some of its tensors replaced, by their places in output_tensors()."""
    count = -1

    def walk(part: Any) -> Any:
        nonlocal count
        if isinstance(part, Tensor):
            count += 1
            return values.get(count, part)
        if isinstance(part, dict):
            for name in part:
                part[name] = walk(part[name])
            return part
        if isinstance(part, (tuple, list)):
            parts = [walk(each) for each in part]
            return type(part)(*parts) if hasattr(part, "_fields") else type(part)(parts)
        return part

    return walk(output)
