"""Initialization of a student with every k-th layer of its teacher.

student = init_student_from_layers(teacher, layers=2)       # layers 0 and 3 of six, all else copied

Source: DistilBERT, Sanh et al. 2019, https://arxiv.org/abs/1910.01108, section 3.
"""

from __future__ import annotations

import copy
from typing import Any

from torch import nn

from deepseek.errors import InputError

_LAYER_COUNT_KEYS = ("num_hidden_layers", "n_layers", "num_layers", "n_layer")


def init_student_from_layers(teacher: nn.Module, *, layers: int) -> nn.Module:
    """A copy of `teacher` that keeps `layers` of its layers, evenly spread and the first among them; a Hugging Face
    config is updated to that number. The layers are the longest ModuleList of modules of one class.

    InputError for a module without such a list, or with fewer layers.

    >>> class Net(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.blocks = nn.ModuleList(nn.Linear(4, 4) for _ in range(6))
    >>> teacher = Net()
    >>> student = init_student_from_layers(teacher, layers=2)
    >>> len(student.blocks), bool((student.blocks[1].weight == teacher.blocks[3].weight).all())
    (2, True)
    """
    longest = layer_list(teacher)
    if longest is None:
        raise InputError(
            f"{type(teacher).__name__} has no list of layers of one class",
            expected="a module with its layers in a torch ModuleList, as BERT has",
            fix="build the student yourself: distill() takes any two modules",
        )
    path, depth = longest
    if not 1 <= layers <= depth:
        raise InputError(
            f"layers is {layers}, and the teacher has {depth}",
            expected=f"between 1 and {depth}", fix="give such a number",
        )  # fmt: skip
    chosen = [index * depth // layers for index in range(layers)]
    student = copy.deepcopy(teacher)
    kept_layers = [student.get_submodule(path)[index] for index in chosen]  # type: ignore[index]
    for index, layer in enumerate(kept_layers):
        for part in layer.modules():
            if isinstance(getattr(part, "layer_idx", None), int):  # by which transformers finds a layer's cache
                part.layer_idx = index
    parent, _, name = path.rpartition(".")
    setattr(student.get_submodule(parent), name, nn.ModuleList(kept_layers))
    _set_layer_count(student, depth, layers)
    return student


def layer_list(module: nn.Module) -> tuple[str, int] | None:
    """The name of the longest ModuleList of modules of one class, and its length; None without one of two or more."""
    lists = [
        (name, len(part))
        for name, part in module.named_modules()
        if isinstance(part, nn.ModuleList) and len(part) > 1 and len({type(layer) for layer in part}) == 1
    ]
    return max(lists, key=lambda named: named[1]) if lists else None


def _set_layer_count(student: nn.Module, old_count: int, new_count: int) -> None:
    for part in student.modules():
        config: Any = getattr(part, "config", None)
        for name in _LAYER_COUNT_KEYS:
            if getattr(config, name, None) == old_count:
                setattr(config, name, new_count)
