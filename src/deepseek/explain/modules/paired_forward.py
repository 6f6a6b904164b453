"""One run of any torch module on an input and, beside it, on its baseline: every tensor knows its twin.

    paired = PairedForward(steps=None)
    x = paired.start(inputs, baselines)              leaves, each with its twin
    with paired:
        output = module(x)                           twin_of(output) is what the baselines give
    torch.autograd.grad(output.sum(), x)             multipliers, not gradients: their products with x - twin sum to
                                                     output - twin_of(output)

Every call of torch is seen before it is made (torch.overrides.TorchFunctionMode), so functions are seen like modules,
and a module that is used twice like two. Whatever is linear is made twice as it stands; what is not has a rule in
rules.py, whose backward pass multiplies by secants between the two runs (DeepLIFT: Shrikumar et al. 2017, section
3.5.1, here also for products, norms and softmax). What is neither stands in `plain` and keeps its slope: the sum tells.

Token ids have twins, too; where they are looked up in an embedding table a leaf begins. With `steps` there are no twins
of real numbers: leaves then lie on the straight line between baseline and input (see path_integral.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from deepseek.errors import ExplainError
from deepseek.explain.modules.fidelity.places import TokenPositions, attach_positions, positions_of, propagate_positions
from deepseek.explain.modules.fidelity.reads import READ_CALLS, caller_location
from deepseek.explain.modules.fidelity.signatures import Arguments, bind_arguments, first_operand

_TWIN = "_deepseek_twin"
_ATTENTION = "_deepseek_attention"
_MULTI_HEAD_ATTENTION = "multi_head_attention_forward"  # hides its heads, so that it is done step by step in every run
_LINEAR_NAMES = """
    add sub subtract rsub radd iadd isub neg negative positive addmm addbmm view view_as reshape permute
    transpose t swapaxes movedim flatten unflatten squeeze unsqueeze expand expand_as repeat repeat_interleave
    tile contiguous clone to float double half bfloat16 type type_as cpu cuda getitem setitem cat concat
    concatenate stack hstack vstack chunk split unbind narrow select index_select gather take_along_dim scatter
    roll flip mean sum cumsum diff linear conv1d conv2d conv3d conv_transpose1d conv_transpose2d
    conv_transpose3d avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d
    adaptive_avg_pool3d dropout dropout1d dropout2d dropout3d alpha_dropout feature_dropout pad constant_pad_nd
    masked_fill batch_norm interpolate upsample unfold fold as_strided real alias pixel_shuffle pixel_unshuffle
    copy detach requires_grad einsum matmul bmm mm mv mul multiply div divide true_divide dot outer baddbmm
    bilinear where get
"""
#: Calls that are linear in whatever has a twin, or that only move values: made as they stand, for both.
LINEAR = frozenset(_LINEAR_NAMES.split())


def twin_of(value: Any) -> Tensor | None:
    """The same tensor in the run on the baseline; None where both runs have the same."""
    twin: Tensor | None = getattr(value, _TWIN, None)
    return twin


def attach_twin(value: Tensor, twin: Tensor) -> Tensor:
    """`value` with its twin attached."""
    setattr(value, _TWIN, twin)
    return value


@dataclass(slots=True)
class TorchCall:
    """One call of torch."""

    paired: PairedForward
    name: str  # without underscores: mul for mul, mul_, __mul__ and __imul__
    func: Callable[..., Any]
    args: Sequence[Any]
    kwargs: Arguments
    in_place: bool

    _arguments: Arguments | None = None

    @property
    def operand(self) -> Any:
        """The first argument, which is the only one of most calls."""
        return first_operand(self.args, self.kwargs)

    def argument(self, name: str, default: Any = None) -> Any:
        """An argument by the name that it has in the signature; `default` where the signature has no such name."""
        if self._arguments is None:
            arguments = bind_arguments(self.func, self.name, self.args, self.kwargs)
            if arguments is None:
                raise UnknownCallError(self.name)
            self._arguments = arguments
        return self._arguments.get(name, default)


class UnknownCallError(Exception):
    """Arguments that fit no signature that is known: a rule cannot read them."""


#: What a rule gives: the tensor of the first run with its twin, or None where the rule does not fit these arguments.
Rule = Callable[[TorchCall], Any]


@dataclass(slots=True)
class Leaf:
    """Where an explanation begins: an input, or what was looked up for its ids."""

    tensor: Tensor  # (N, ...); with steps (S * N, ...)
    change: Tensor  # input minus baseline (N, ...); of what was looked up with steps (S * N, ...)
    source: int  # which input
    is_lookup: bool = False
    places: Tensor | None = (
        None  # of looked up ids: where each stands in the flat input; -1 for one of the module's own
    )


@dataclass(slots=True)
class AttentionHeads:
    """The outcome of one attention, before heads are joined: (N, H, L, D)."""

    module: str
    tensor: Tensor


@dataclass(slots=True)
class RunRecord:
    """What one run has met: leaves, attention heads, calls without a rule, branches on data."""

    leaves: list[Leaf] = field(default_factory=list)
    heads: list[AttentionHeads] = field(default_factory=list)
    plain: dict[str, None] = field(default_factory=dict)  # calls that are not linear and have no rule
    branches: dict[str, None] = field(default_factory=dict)  # where Python read what differs between the runs
    scope: list[str] = field(default_factory=list)  # names of the modules that run


class PairedForward(TorchFunctionMode):
    """`steps` (S, N) are places on each row's line from baseline (0) to input (1), None for a run on pairs."""

    def __init__(self, steps: Tensor | None = None) -> None:
        super().__init__()
        self.steps = steps
        self.record = RunRecord()
        self._found = None

    def start(self, inputs: Sequence[Tensor], baselines: Sequence[Tensor]) -> list[Tensor]:
        """What to give the module for `inputs` (N, ...) and `baselines`, each of the same shape as its input. With
        steps each has S * N rows: all rows at the first step, then all at the second."""
        return [self._begin(*pair, source) for source, pair in enumerate(zip(inputs, baselines, strict=True))]

    def _begin(self, values: Tensor, base: Tensor, source: int) -> Tensor:
        if values.is_floating_point():
            # A copy, so that a module may change its input in place, and the leaf is not the caller's tensor.
            leaf = self._leaf(values, base, source)
            value = leaf.clone()
            return value if self.steps is not None else attach_twin(value, base.detach().clone())
        if self.steps is not None:
            times = (len(self.steps), *(1 for _ in values.shape[1:]))
            values, base = values.repeat(times), base.repeat(times)
        ids = attach_twin(values.clone(), base.clone())
        places = torch.arange(ids.numel(), device=ids.device).view(ids.shape)
        return attach_positions(ids, TokenPositions(source, places, ids[0].numel()))

    def _leaf(self, values: Tensor, base: Tensor, source: int, places: TokenPositions | None = None) -> Tensor:
        """A new leaf: of real numbers, or of what was looked up for ids at `places`."""
        values, base = values.detach(), base.detach()
        change = values - base
        if self.steps is not None:
            steps = self.steps.to(change)
            if places is None:
                wide = steps.view(*steps.shape, *(1 for _ in change.shape[1:]))
                values = (base + wide * change).flatten(0, 1)
            else:  # ids were repeated for the steps
                values = base + steps.flatten()[places.flat.clamp_min(0) // places.row_size][..., None] * change
        leaf = values.clone().requires_grad_()
        self.record.leaves.append(
            Leaf(leaf, change, source, places is not None, None if places is None else places.flat)
        )
        return leaf

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Arguments | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if not (_any_twin(args) or _any_twin(list(kwargs.values()))):
            if self.steps is None:
                return func(*args, **kwargs)
            name = _call_name(func)[0]
            composed = (
                RULES[name](TorchCall(self, name, func, args, kwargs, False)) if name == _MULTI_HEAD_ATTENTION else None
            )
            result = func(*args, **kwargs) if composed is None else composed
            self._see_attention(name, args, result)
            return result
        name, in_place = _call_name(func)
        if name == "get":  # of shape, dtype and the like
            result = func(*args, **kwargs)
            return self._pair_result(func, args, kwargs, result) if isinstance(result, Tensor) else result
        if in_place or name == "setitem" or "out" in kwargs:
            _ensure_twin(kwargs.get("out", args[0] if args else None))
        call = TorchCall(self, name, func, args, kwargs, in_place or bool(kwargs.get("inplace")))
        result = self._by_rule(call)
        if result is None:
            result = self._pair_result(func, args, kwargs, func(*args, **kwargs))
            self._see_plain(name, result)
        elif call.in_place and isinstance(args[0], Tensor):
            result = _write_in_place(args[0], result)
        self._see_attention(name, args, result)
        return result

    @staticmethod
    def _by_rule(call: TorchCall) -> Any:
        rule = RULES.get(call.name)
        try:
            return None if rule is None else rule(call)
        except UnknownCallError:
            return None

    def _pair_result(self, func: Callable[..., Any], args: Sequence[Any], kwargs: Arguments, result: Any) -> Any:
        """`result`, with what the same call gives for the twins."""
        name = getattr(func, "__name__", "")
        if not (_has_tensor(result) or name in READ_CALLS or name == "__setitem__"):
            return result  # a shape, a type
        with torch.no_grad():
            other = func(*_to_twins(args), **{name: _to_twins(value) for name, value in kwargs.items()})
        if not _has_tensor(result):
            if name in READ_CALLS and not _values_equal(result, other):
                self.record.branches[f"{name.strip('_')} ({caller_location()})"] = None
            return result
        operands = _flatten_tensors([*args, *kwargs.values()])
        propagate_positions(_call_name(func)[0], func, args, kwargs, operands, _flatten_tensors([result]))
        of_reals = any(twin_of(each) is not None and positions_of(each) is None for each in operands)
        if not of_reals and _masks_differ(_flatten_tensors([result]), _flatten_tensors([other])):
            self.record.branches[f"a mask of ids ({caller_location()})"] = None
        return _attach_twins(result, other, of_reals)

    def _see_plain(self, name: str, result: Any) -> None:
        if name not in LINEAR and any(each.requires_grad for each in _flatten_tensors([result])):
            self.record.plain[name] = None

    def _see_attention(self, name: str, args: Sequence[Any], result: Any) -> None:
        """Softmax times values, in one call or in two."""
        if not isinstance(result, Tensor) or result.ndim != 4:
            return
        if name == "softmax":
            setattr(result, _ATTENTION, True)
        elif (
            name == "scaled_dot_product_attention" or (name == "matmul" and hasattr(args[0], _ATTENTION))
        ) and not any(each.tensor is result for each in self.record.heads):
            self.record.heads.append(AttentionHeads(self.record.scope[-1] if self.record.scope else "", result))


def embedding_rule(call: TorchCall) -> Tensor | None:
    """Rule of an embedding of ids that have a twin: a leaf begins."""
    ids = call.argument("input")
    if twin_of(ids) is None:
        return None
    places = positions_of(ids)
    if places is None:
        raise ExplainError(
            f"ids are looked up that cannot be followed back to the input ({caller_location()})",
            expected="ids of the input, moved or changed one by one", fix='explain it by method="partition"',
        )  # fmt: skip
    with torch.no_grad():
        values = call.func(*call.args, **call.kwargs)
        base = call.func(*_to_twins(call.args), **{name: _to_twins(value) for name, value in call.kwargs.items()})
    paired = call.paired
    leaf = paired._leaf(values, base, places.source, places)
    return leaf.clone() if paired.steps is not None else attach_twin(leaf.clone(), base)


def _write_in_place(target: Tensor, result: Tensor) -> Tensor:
    """Write `result` and its twin into `target` and its twin, as a call in place does."""
    twin, other = twin_of(target), twin_of(result)
    target.copy_(result)
    if other is not None:
        if twin is None:
            return attach_twin(target, other)
        with torch.no_grad():
            twin.copy_(other)
    return target


def _ensure_twin(target: Any) -> None:
    """Give a tensor that is about to be written to a twin, to be written to as well; a part of a tensor one that is a
    part of the tensor's twin."""
    if not isinstance(target, Tensor) or twin_of(target) is not None:
        return
    whole = target._base
    if whole is None or not whole.is_floating_point():
        attach_twin(target, target.detach().clone())
        return
    if twin_of(whole) is None:
        attach_twin(whole, whole.detach().clone())
    beside = twin_of(whole)
    if beside is not None and beside.stride() == whole.stride():
        start = target.storage_offset() - whole.storage_offset() + beside.storage_offset()
        attach_twin(target, beside.as_strided(target.shape, target.stride(), start))


def _masks_differ(masks: list[Tensor], others: list[Tensor]) -> bool:
    """Whether boolean masks differ between the run on the input and that on the baseline."""
    are_masks = any(each.dtype == torch.bool for each in masks)
    return are_masks and not all(map(torch.equal, masks, others))


def _values_equal(value: Any, other: Any) -> bool:
    """Whether code that reads two values in Python cannot tell them apart."""
    return bool(np.array_equal(np.asarray(value), np.asarray(other)))


_CALL_NAMES: dict[Any, tuple[str, bool]] = {}


def _call_name(func: Callable[..., Any]) -> tuple[str, bool]:
    """(name without underscores, whether it works in place)."""
    known = _CALL_NAMES.get(func)
    if known is None:
        raw = getattr(func, "__name__", str(func))
        name = raw.strip("_")
        augmented = raw.startswith("__i") and name[1:] in {"add", "sub", "mul", "truediv", "div", "pow"}
        in_place = augmented or (raw.endswith("_") and not raw.endswith("__"))
        known = _CALL_NAMES[func] = (name[1:] if augmented else name, in_place)
    return known


def _any_twin(values: Sequence[Any]) -> bool:
    for value in values:
        if isinstance(value, Tensor):
            if getattr(value, _TWIN, None) is not None:
                return True
        elif isinstance(value, (tuple, list)) and _any_twin(value):
            return True
    return False


def _to_twins(value: Any) -> Any:
    """Arguments with every tensor replaced by its twin."""
    if isinstance(value, Tensor):
        twin = twin_of(value)
        return value if twin is None else twin
    if isinstance(value, (tuple, list)):
        return type(value)([_to_twins(each) for each in value]) if type(value) in (tuple, list) else value
    return value


def _flatten_tensors(values: Sequence[Any]) -> list[Tensor]:
    tensors: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            tensors.append(value)
        elif isinstance(value, (tuple, list)):
            tensors += _flatten_tensors(value)
    return tensors


def _has_tensor(result: Any) -> bool:
    return isinstance(result, Tensor) or (isinstance(result, (tuple, list)) and any(map(_has_tensor, result)))


def _attach_twins(result: Any, other: Any, of_reals: bool) -> Any:
    """`result` with its twins attached. What is asked of ids by yes and no (where is padding?) stays as the input has
    it, so that both runs look at the same places."""
    if isinstance(result, Tensor):
        return attach_twin(result, other) if result.dtype != torch.bool or of_reals else result
    if isinstance(result, (tuple, list)):
        for each, beside in zip(result, other, strict=True):
            _attach_twins(each, beside, of_reals)
    return result


#: Name of a call -> its rule; rules.py fills it.
RULES: dict[str, Rule] = {}
