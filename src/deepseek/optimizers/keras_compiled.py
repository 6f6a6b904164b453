"""AdaptiveOptimizer as Keras variables, for the backends that compile a step: TensorFlow and JAX.

Import it from deepseek.optimizers.keras. keras_step.py has the step itself; all state lies in Keras' own variables, so
that `model.save` and `load_model` go on as if nothing had happened.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from deepseek.errors import InputError
from deepseek.optimizers.config import BETA1, BETA2, TRUST_HALF_LIFE_STEPS
from deepseek.optimizers.keras_backend import check_arguments, import_keras, peak_of
from deepseek.optimizers.keras_step import (
    StepRates,
    StepState,
    TensorState,
    matrix_shape,
    sides_of,
    take_step,
)
from deepseek.optimizers.regularization_level import RegularizationLevel

keras = import_keras()
NUM_CONTROLS = 4


@keras.saving.register_keras_serializable(package="deepseek")
class AdaptiveOptimizer(keras.optimizers.Optimizer):  # type: ignore[misc, name-defined]
    """deepseek.optimizers.AdaptiveOptimizer for `model.compile`, in steps that TensorFlow or JAX compile.

    The arguments are those of the class for the torch backend. Parameters of float32 alone; one replica. A dropout
    layer's rate is compiled into the training step, so `attach` is for torch alone; `report` moves the weight decay and
    `label_smoothing`. InputError for arguments out of range.
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
        self._peak_lr = peak_of(self._learning_rate)
        self._level = RegularizationLevel()

    def build(self, variables: Sequence[Any]) -> None:
        """Make the state of these variables. InputError for one that is not float32."""
        if self.built:
            return
        super().build(variables)
        for variable in variables:
            if variable.dtype != "float32":
                raise InputError(
                    f"{variable.path} is {variable.dtype}", expected="float32 variables on this backend",
                    fix="train with keras.config.set_dtype_policy('mixed_float16') or float32, or on the torch backend",
                )  # fmt: skip
        self._tensor_variables = [self._make_state(variable) for variable in variables]
        count = len(variables)
        make = self._make_variable
        self._shared = [
            make("control", np.zeros(NUM_CONTROLS)), make("bounds", np.full(count, math.inf)),
            make("norms", np.zeros(count)), make("step", np.zeros((), np.int32)),
            make("num_skipped", np.zeros((), np.int32)),
        ]  # fmt: skip
        self._regularization_state = make("regularization", np.array(self._level.values()))
        self._shared.append(make("limits", np.zeros(count)))  # last: files from before it was there have all others

    def _make_state(self, variable: Any) -> list[Any]:
        shape, make = matrix_shape(variable.shape), self._make_variable
        sides = [(shape[axis], side) for axis, side in sides_of(variable.shape)]
        name = variable.name
        return [
            *(make(f"{name}_{each}", np.zeros(shape)) for each in ("exp_avg", "exp_avg_sq", "direction")),
            make(f"{name}_step", np.zeros((), np.int32)),
            *(make(f"{name}_{side}", np.zeros((size, size))) for size, side in sides),
            *(make(f"{name}_{side}_basis", np.eye(size)) for size, side in sides),
        ]

    def _make_variable(self, name: str, first: np.ndarray[Any, Any]) -> Any:
        """A variable of Keras' own list, which it saves. Not assigned: fit() builds where an assignment is lost."""
        dtype = "int32" if first.dtype.kind == "i" else "float32"

        def begin(shape: Any, dtype: Any = dtype) -> Any:  # noqa: ARG001 - Keras passes it
            return keras.ops.convert_to_tensor(first.astype(dtype), dtype=dtype)

        return self.add_variable(first.shape, initializer=begin, dtype=dtype, name=name)

    def get_current_lr(self) -> float:
        """The learning rate of the next step; the trust in each tensor may lower it. InputError before `build`."""
        self._check_built()
        control, limits = (keras.ops.convert_to_numpy(self._shared[place].value) for place in (0, 5))
        rate = float(keras.ops.convert_to_numpy(self.learning_rate))
        unbounded, limit = rate * math.exp(float(control[0])), float(limits.max()) * min(rate / self._peak_lr, 1.0)
        return min(unbounded, limit) if limit > 0 else unbounded

    @property
    def num_skipped_steps(self) -> int:
        """Steps that were not taken, for a gradient that was NaN, infinite or too long for float32."""
        self._check_built()
        return int(keras.ops.convert_to_numpy(self._shared[4].value))

    @property
    def label_smoothing(self) -> float:
        """The label smoothing to use now."""
        return self._level.label_smoothing

    def attach(self, model: Any) -> None:
        """InputError: see the class."""
        raise InputError(
            "a dropout layer's rate is a constant of the compiled training step",
            expected="Keras on its torch backend", fix="set KERAS_BACKEND=torch, or leave attach() out",
        )  # fmt: skip

    def report(self, *, train_loss: float, val_loss: float) -> RegularizationLevel:
        """Tell how training goes; weight decay follows the gap, and the label smoothing of the handle."""
        self._check_built()
        self._level.load(keras.ops.convert_to_numpy(self._regularization_state.value))
        self._level.report(train_loss, val_loss)
        self._regularization_state.assign(np.array(self._level.values(), np.float32))
        return self._level

    def get_config(self) -> dict[str, Any]:
        config: dict[str, Any] = super().get_config()
        return config | asdict(self.adaptive_config) | {"peak_lr": self._peak_lr}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> AdaptiveOptimizer:
        """As of any Keras optimizer. A file from before there was such a thing has no "peak_lr"."""
        rest = dict(config)
        peak = rest.pop("peak_lr", 0.0)
        optimizer: AdaptiveOptimizer = super().from_config(rest, custom_objects)
        optimizer._peak_lr = max(peak, optimizer._peak_lr)
        return optimizer

    def load_own_variables(self, store: Any) -> None:
        """What save_own_variables wrote; a file from before there were limits has none."""
        values = {key: store[key] for key in store.keys()}  # noqa: SIM118 - Keras' stores cannot be iterated over
        if self.built and len(values) == len(self.variables) - 1:
            values[str(len(values))] = np.zeros(self._shared[5].shape, np.float32)
        super().load_own_variables(values)

    def _check_built(self) -> None:
        if not self.built:
            raise InputError(
                "the optimizer does not know its variables yet", expected="a built optimizer",
                fix="call fit first, or optimizer.build(model.trainable_variables)",
            )  # fmt: skip

    def _apply_weight_decay(self, variables: Sequence[Any]) -> None:
        """Nothing: the step has it."""

    def _backend_update_step(
        self, grads: Sequence[Any], trainable_variables: Sequence[Any], learning_rate: Any
    ) -> None:
        ops = keras.ops
        places = [self._get_variable_index(variable) for variable in trainable_variables]
        whole = self._state()
        state = StepState(
            tuple(whole.tensors[place] for place in places), whole.control, ops.take(whole.bounds, places),
            ops.take(whole.norms, places), whole.step, whole.num_skipped, ops.take(whole.limits, places),
        )  # fmt: skip
        level = ops.convert_to_tensor(self._regularization_state)[0]
        decays = np.array(
            [self.adaptive_config.weight_decay * self._use_weight_decay(each) for each in trainable_variables],
            np.float32,
        )
        rates = StepRates(
            ops.cast(learning_rate, "float32"), self._peak_lr, decays, RegularizationLevel.MAX_EXTRA_DECAY * level
        )
        params = [ops.convert_to_tensor(variable) for variable in trainable_variables]
        grads = [ops.convert_to_tensor(grad) for grad in grads]
        moved, after = take_step(self.adaptive_config, params, grads, state, rates)
        for variable, value in zip(trainable_variables, moved, strict=True):
            variable.assign(value)
        self._keep(places, after)

    def _state(self) -> StepState:
        ops = keras.ops
        tensors = []
        for variables in self._tensor_variables:
            values = [ops.convert_to_tensor(variable) for variable in variables]
            num_sides = (len(values) - 4) // 2
            factors, bases = tuple(values[4 : 4 + num_sides]), tuple(values[4 + num_sides :])
            tensors.append(TensorState(values[0], values[1], values[2], values[3], factors, bases))
        return StepState(tuple(tensors), *(ops.convert_to_tensor(variable) for variable in self._shared))

    def _keep(self, places: Sequence[int], after: StepState) -> None:
        ops = keras.ops
        for place, one in zip(places, after.tensors, strict=True):
            values = (one.mean, one.square, one.direction, one.step, *one.factors, *one.bases)
            for variable, value in zip(self._tensor_variables[place], values, strict=True):
                variable.assign(value)
        control, bounds, norms, step, num_skipped, limits = self._shared
        at = np.array(places)[:, None]
        control.assign(after.control)
        bounds.assign(ops.scatter_update(bounds, at, after.bounds))
        norms.assign(ops.scatter_update(norms, at, after.norms))
        limits.assign(ops.scatter_update(limits, at, after.limits))
        step.assign(after.step)
        num_skipped.assign(after.num_skipped)
