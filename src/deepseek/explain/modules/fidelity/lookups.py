"""Which id a table of embeddings does not have, when a lookup has failed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

from deepseek.errors import InputError
from deepseek.explain.modules.fidelity.signatures import Arguments


class LookupCheck(TorchFunctionMode):
    """A mode in which looking up an id that a table does not have raises an InputError that names the id."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Arguments | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") == "embedding" and func.__module__ == "torch.nn.functional":
            ids = args[0] if args else kwargs["input"]
            table = args[1] if len(args) > 1 else kwargs["weight"]
            if isinstance(ids, Tensor) and ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < len(table):
                outside = int(ids.min()) if int(ids.min()) < 0 else int(ids.max())
                raise InputError(
                    f"there is an id of {outside}", expected=f"0 to {len(table) - 1}: the model's table has no more",
                    fix="shorten the text to the model's limit, or use the tokenizer that belongs to the model",
                )  # fmt: skip
        return func(*args, **kwargs)
