"""Runs in the learner's process: asks torch about the operator that signed_root_operator.py registers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

MAX_WORDS = 160


class _Calls(TorchDispatchMode):
    """The names of the operators that are called."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(func.name())
        return func(*args, **(kwargs or {}))


def leaves(x: Any, scale: Any) -> tuple[Tensor, Tensor]:
    return torch.tensor(x).requires_grad_(), torch.tensor(scale).requires_grad_()


def evaluate(learner: Any, x: Any, scale: Any, offset: float) -> dict[str, object]:
    """The values, and both arguments after the call."""
    a, b = torch.tensor(x), torch.tensor(scale)
    y = learner.signed_root(a, b, offset)
    return {"y": y, "x": a, "scale": b}


def operators(learner: Any, namespace: str, x: Any, scale: Any, offset: float) -> dict[str, object]:
    """Whether there is such an operator, whether it was called, and what torch's own checks say of its shapes."""
    a, b = leaves(x, scale)
    with _Calls() as calls:
        learner.signed_root(a, b, offset)
    exists = hasattr(getattr(torch.ops, namespace), "signed_root")
    problem = ""
    if exists:
        operator = getattr(torch.ops, namespace).signed_root.default
        done = torch.library.opcheck(
            operator, (a, b, offset), test_utils=("test_schema", "test_faketensor"), raise_exception=False
        )
        problem = next((str(each) for each in done.values() if each != "SUCCESS"), "")
    called = f"{namespace}::signed_root" in calls.names
    return {"exists": exists, "called": called, "problem": " ".join(problem.split())[:MAX_WORDS]}


def gradients(learner: Any, x: Any, scale: Any, offset: float, weight: Any) -> dict[str, object]:
    """The gradients of the weighted sum, or what torch says."""
    a, b = leaves(x, scale)
    try:
        total = (learner.signed_root(a, b, offset) * torch.tensor(weight)).sum()
        total.backward()
    except (RuntimeError, NotImplementedError, TypeError, ValueError) as error:
        return {"problem": " ".join(str(error).split())[:MAX_WORDS]}
    if a.grad is None:
        return {"problem": "x.grad is None"}
    return {"x": a.grad, "scale": b.grad}


def second_derivatives(learner: Any, x: Any, scale: Any, offset: float) -> dict[str, object]:
    """The gradient of the sum of the gradient of x."""
    a, b = leaves(x, scale)
    try:
        (first,) = torch.autograd.grad(learner.signed_root(a, b, offset).sum(), a, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), a)
    except (RuntimeError, NotImplementedError, TypeError, ValueError) as error:
        return {"problem": " ".join(str(error).split())[:MAX_WORDS]}
    return {"x": second}


def types(learner: Any, x: Any, scale: Any, offset: float) -> dict[str, object]:
    """The type and the values for float32 in another order of memory."""
    y = learner.signed_root(
        torch.tensor(x, dtype=torch.float32).t().contiguous().t(), torch.tensor(scale).float(), offset
    )
    return {"dtype": str(y.dtype), "y": y}
