"""The Keras optimizer that hands variables and gradients to the torch one: one algorithm, not a second copy of it.

    apply(gradients) -> Keras: unscale, accumulate, clip -> torch: step -> Keras: constraints, averaged weights

Import it from deepseek.optimizers.keras. The state of the torch optimizer is saved beside Keras' own variables, so that
`model.save` and `load_model` go on as if nothing had happened.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import nn

from deepseek.errors import InputError
from deepseek.optimizers import adaptive
from deepseek.optimizers.config import BETA1, BETA2, TRUST_HALF_LIFE_STEPS
from deepseek.optimizers.keras_backend import check_arguments, keras_on_torch, peak_of
from deepseek.optimizers.regularization import Regularization

keras = keras_on_torch()
_KERAS_GROUP_KEYS = {"lr", "params", "betas"}  # what a group gets from Keras at each step, or from build()
_COLUMN_MAJOR_SUFFIX = ".columns"  # a matrix that lies column by column comes back so: products round by the layout


@keras.saving.register_keras_serializable(package="deepseek")
class AdaptiveOptimizer(keras.optimizers.Optimizer):  # type: ignore[misc, name-defined]
    """deepseek.optimizers.AdaptiveOptimizer for `model.compile`, on Keras' torch backend.

    `learning_rate` (initial_lr, if not given) may be a schedule, or be set by a callback: as in torch, the factor that
    the optimizer finds is multiplied by it. `exclude_from_weight_decay`, and Keras' own arguments in `kwargs`
    (clipnorm, use_ema, gradient_accumulation_steps, ...), work as with any Keras optimizer. InputError for arguments
    out of range.
    """

    def __init__(
        self,
        initial_lr: float = 1e-3,
        lr_decay_rate: float = 0.95,
        dynamic_threshold: float = 0.8,
        weight_decay: float = 0.2,
        trust_steps: float = TRUST_HALF_LIFE_STEPS,
        *,
        learning_rate: Any = None,
        betas: tuple[float, float] = (BETA1, BETA2),
        **kwargs: Any,
    ) -> None:
        config = check_arguments(initial_lr, lr_decay_rate, dynamic_threshold, weight_decay, trust_steps, betas=betas)
        rate = float(config.initial_lr) if learning_rate is None else learning_rate
        super().__init__(rate, weight_decay=config.weight_decay, **kwargs)
        self.adaptive_config = config
        self._torch: adaptive.AdaptiveOptimizer | None = None
        self._dropouts = nn.ModuleList()
        self._loaded_rates: list[float] = []

    @property
    def torch_optimizer(self) -> adaptive.AdaptiveOptimizer:
        """The optimizer that takes the steps. InputError before `build`."""
        if self._torch is None:
            raise InputError(
                "the optimizer does not know its variables yet",
                expected="a built optimizer",
                fix="call fit first, or optimizer.build(model.trainable_variables)",
            )
        return self._torch

    def build(self, variables: Sequence[Any]) -> None:
        """Make the torch optimizer of these variables; those without weight decay are its second group."""
        if self._torch is not None:
            return
        super().build(variables)
        groups: list[dict[str, Any]] = [
            {"params": [each.value for each in variables if self._use_weight_decay(each)]},
            {"params": [each.value for each in variables if not self._use_weight_decay(each)], "weight_decay": 0.0},
        ]
        used_groups = [group for group in groups if group["params"]]
        self._torch = adaptive.AdaptiveOptimizer(used_groups, **asdict(self.adaptive_config))
        for group in self._torch.param_groups:
            group["peak_lr"] = peak_of(self._learning_rate)
        self._torch.attach(self._dropouts)

    def get_current_lr(self) -> float:
        """The learning rate of the next step; bounds per tensor may lower it."""
        self._hand_over(self.learning_rate)
        return self.torch_optimizer.get_current_lr()

    def attach(self, model: Any) -> None:
        """Let `report` move the Dropout layers of a model, from the rates that they have now; one of rate 0 stays.

        Of a loaded model call it again: the rates from which they were moved come out of the file.
        """
        layers = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.Dropout)]
        rates = self._loaded_rates if len(self._loaded_rates) == len(layers) else [layer.rate for layer in layers]
        self._dropouts = nn.ModuleList(map(_Dropout, layers, rates))
        self._loaded_rates = []
        if self._torch is not None:
            self._torch.attach(self._dropouts)

    def report(self, *, train_loss: float, val_loss: float) -> Regularization:
        """Tell how training goes; weight decay follows the gap, the label smoothing of the handle, and the dropout of
        an attached model."""
        return self.torch_optimizer.report(train_loss=train_loss, val_loss=val_loss)

    def get_config(self) -> dict[str, Any]:
        config: dict[str, Any] = super().get_config()
        return config | asdict(self.adaptive_config)

    def save_own_variables(self, store: Any) -> None:
        """Keras' variables under their numbers, the torch state under names with a dot."""
        super().save_own_variables(store)
        if self._torch is None:
            return
        state = self._torch.state_dict()
        for index, values in state["state"].items():
            for name, value in values.items():
                by_columns = isinstance(value, torch.Tensor) and value.ndim == 2 and not value.is_contiguous()
                store[f"state.{index}.{name}{_COLUMN_MAJOR_SUFFIX * by_columns}"] = _as_array(
                    value.T if by_columns else value
                )
        for index, group in enumerate(state["param_groups"]):
            for name in (name for name in group.keys() - _KERAS_GROUP_KEYS if group[name] is not None):
                store[f"group.{index}.{name}"] = _as_array(group[name])
        for name, value in state["regularisation"].items():
            store[f"regularisation.{name}"] = _as_array(value)
        for index, layer in enumerate(self._dropouts):
            store[f"dropout.{index}"] = _as_array(layer.first)

    def load_own_variables(self, store: Any) -> None:
        """What save_own_variables wrote. A store of another optimizer is passed over with Keras' warning."""
        keys = [key for key in store.keys() if "." in key]  # noqa: SIM118 - Keras' stores cannot be iterated over
        super().load_own_variables({key: store[key] for key in store.keys() if key not in keys})  # noqa: SIM118
        if self._torch is None or not keys:
            return
        state, rates = self._torch.state_dict(), dict[int, float]()
        for key in keys:
            part, *path = key.removesuffix(_COLUMN_MAJOR_SUFFIX).split(".")
            value = _from_array(np.asarray(store[key]))
            if key.endswith(_COLUMN_MAJOR_SUFFIX):
                value = value.T
            if part == "dropout":
                rates[int(path[0])] = value
            elif part == "regularisation":
                state[part][path[0]] = value
            elif part == "group":
                state["param_groups"][int(path[0])][path[1]] = value
            else:
                state["state"].setdefault(int(path[0]), {})[path[1]] = value
        self._torch.load_state_dict(state)
        self._loaded_rates = [rates[place] for place in sorted(rates)]

    def _hand_over(self, learning_rate: Any) -> None:
        rate = keras.ops.convert_to_tensor(learning_rate).detach()
        for group in self.torch_optimizer.param_groups:
            group["lr"] = rate

    def _apply_weight_decay(self, variables: Sequence[Any]) -> None:
        """Nothing: the torch optimizer's step has it."""

    # With jit_compile=True it would be compiled anew for each count of steps.
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _backend_update_step(self, grads: Sequence[Any], variables: Sequence[Any], learning_rate: Any) -> None:
        self._hand_over(learning_rate)
        grad_of_variable = {id(variable.value): grad for variable, grad in zip(variables, grads, strict=True)}
        previous_grads = []
        for param in self._params():
            previous_grads.append(param.grad)
            param.grad = grad_of_variable.get(id(param))
        self.torch_optimizer.step()
        for param, grad in zip(self._params(), previous_grads, strict=True):
            param.grad = grad

    def _params(self) -> Iterator[torch.Tensor]:
        return (param for group in self.torch_optimizer.param_groups for param in group["params"])


class _Dropout(nn.modules.dropout._DropoutNd):
    """A Keras layer as the torch optimizer sees one: `p` is its rate."""

    layer: Any

    def __init__(self, layer: Any, first: float) -> None:
        self.__dict__["layer"] = layer  # no part of this module
        super().__init__(first)
        self.first = first

    @property
    def p(self) -> float:
        return float(self.layer.rate)

    @p.setter
    def p(self, rate: float) -> None:
        self.layer.rate = rate


def _as_array(value: Any) -> np.ndarray[Any, Any]:
    """A tensor with one axis more, so that a number stays one. numpy has no bfloat16: float32 holds it exactly."""
    if not isinstance(value, torch.Tensor):
        return np.asarray(value)
    tensor = value.detach().cpu()
    return (tensor.float() if tensor.dtype is torch.bfloat16 else tensor).unsqueeze(0).numpy()


def _from_array(array: np.ndarray[Any, Any]) -> Any:
    return torch.from_numpy(array[0].copy()) if array.ndim else array.item()
