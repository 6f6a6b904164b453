"""Where the ids come from that a module looks up: it may move them about, join others to them, or pad them before.

ids = attach_positions(ids, TokenPositions(source=0, flat=torch.arange(6).view(2, 3), row_size=3))
propagate_positions("transpose", Tensor.t, (ids,), {}, [ids], [ids.t()])         the answer knows its places, too
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from deepseek.explain.modules.fidelity.signatures import Arguments, first_operand

_POSITIONS = "_deepseek_places"
_MOVE_NAMES = """
    view view_as reshape permute transpose t swapaxes movedim flatten unflatten squeeze unsqueeze expand expand_as
    repeat repeat_interleave tile getitem chunk split unbind narrow select index_select roll flip get
"""
_MOVES = frozenset(_MOVE_NAMES.split())
_JOINS = frozenset(["cat", "concat", "concatenate", "stack", "hstack", "vstack"])
_OWN_ID = -1  # place of an id that is the module's own


@dataclass(frozen=True, slots=True)
class TokenPositions:
    """Where some ids stand in an input."""

    source: int  # which input they are of
    flat: Tensor  # of the shape of the ids: where each stands in the flat input; -1 for one of the module's own
    row_size: int  # ids of a row of the input


def attach_positions(ids: Tensor, places: TokenPositions) -> Tensor:
    """`ids` with their positions attached."""
    setattr(ids, _POSITIONS, places)
    return ids


def positions_of(value: Any) -> TokenPositions | None:
    """The positions of ids; None for whatever is no id of an input."""
    positions: TokenPositions | None = getattr(value, _POSITIONS, None)
    return positions


def propagate_positions(
    name: str,
    func: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Arguments,
    operands: Sequence[Tensor],
    results: Sequence[Tensor],
) -> None:
    """Hands places on from the `operands` of a call to its `results`, where it moves ids or changes each by itself."""
    known = [places for each in operands if (places := positions_of(each)) is not None]
    if not known or len({places.source for places in known}) > 1:
        return
    first, moved = positions_of(first_operand(args, kwargs)), None
    if name in _JOINS and args and isinstance(args[0], (tuple, list)):
        parts = [(each, positions_of(each)) for each in args[0]]
        flat = [torch.full_like(each, _OWN_ID) if places is None else places.flat for each, places in parts]
        moved = func(flat, *args[1:], **kwargs)
    elif first is not None and name == "pad":
        moved = func(first.flat, *args[1:2], **{**kwargs, "value": _OWN_ID})
    elif first is not None and name in _MOVES and args:
        moved = func(first.flat, *args[1:], **kwargs)
    elif first is not None and all(each.shape == first.flat.shape for each in results):
        moved = [first.flat] * len(results)
    moved_flat = [moved] if isinstance(moved, Tensor) else list(moved or ())
    for each, flat_places in zip(results, moved_flat, strict=False):
        if not each.is_floating_point():
            attach_positions(each, replace(known[0], flat=flat_places))
