"""Where a study stands: what the coordinator keeps from round to round, as arrays that go into safetensors.

A study is a row of tasks: 0 "moments" (means of inputs and of their squares), 1..R "training", R + 1 "figures". Every
task is answered by one vector of bounded numbers a party, and the coordinator uses nothing but their weighted mean.
Under a privacy budget there are training tasks alone: moments and figures would have to be paid for, too. Trees read
bins, and have no moments.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from deepseek.contracts import Float64
from deepseek.errors import IntegrityError
from deepseek.privacy.accounting.gaussian import affordable_rounds
from deepseek.privacy.parties.inputs import Standardization, num_inputs
from deepseek.privacy.parties.learner import learner_of
from deepseek.privacy.study.definition import Study

TaskKind = Literal["moments", "training", "figures"]


@dataclass(frozen=True, slots=True)
class StudyState:
    """Before task `task`."""

    task: int
    parameters: Float64  # (P,)
    standardization: Standardization
    control: Float64  # (P,) shared control variate of SCAFFOLD; zeros of other strategies
    first_moment: Float64  # (P,) of FedAdam
    second_moment: Float64  # (P,)

    def kind(self, study: Study) -> TaskKind | None:
        """What is asked of the parties now; None when the study is over."""
        num_rounds, is_private = study.settings.num_training_tasks, study.settings.budget.noise > 0
        if self.task == 0:
            return "moments"
        if self.task <= (affordable_rounds(study.settings) if is_private else num_rounds):
            return "training"
        return "figures" if self.task == num_rounds + 1 and not is_private else None

    def shared_bytes(self) -> bytes:
        """What parties answer to, as safetensors of float32, which these numbers are rounded to: no moments, and a
        control variate where there is one."""
        arrays = {
            "parameters": self.parameters, "mean": self.standardization.mean, "spread": self.standardization.spread,
        }  # fmt: skip
        if self.control.any():
            arrays["control"] = self.control
        task: dict[str, NDArray[Any]] = {"task": np.array([self.task], np.int64)}
        return safetensors.numpy.save(task | {name: array.astype(np.float32) for name, array in arrays.items()})

    def to_bytes(self) -> bytes:
        """All of it as safetensors, as the coordinator keeps it."""
        return safetensors.numpy.save(
            {
                "task": np.array([self.task], np.int64), "parameters": self.parameters, "control": self.control,
                "mean": self.standardization.mean, "spread": self.standardization.spread,
                "first_moment": self.first_moment, "second_moment": self.second_moment,
            }
        )  # fmt: skip

    @classmethod
    def from_bytes(cls, data: bytes, study: Study) -> StudyState:
        """The inverse of to_bytes() and of shared_bytes(), whose other arrays are zeros. IntegrityError for bytes that
        are not a state of this study."""
        arrays = dict(read_arrays(data))
        num_parameters, width = learner_of(study).num_parameters, num_inputs(study)
        sizes = dict.fromkeys(("parameters", "control", "first_moment", "second_moment"), num_parameters)
        for name in sizes.keys() - {"parameters"}:
            arrays.setdefault(name, np.zeros(num_parameters))
        sizes |= {"mean": width, "spread": width, "task": 1}
        for name, size in sizes.items():
            array = arrays.get(name)
            if array is None or array.shape != (size,) or not np.isfinite(array).all():
                raise IntegrityError(
                    f"the state of the study has no {name} of {size} finite numbers",
                    expected=f"a state of the study {study.digest[:16]}...",
                    fix="check that the coordinator and the party hold the same study",
                )
        floats = {name: np.asarray(arrays[name], np.float64) for name in sizes}
        return cls(
            task=int(arrays["task"][0]), parameters=floats["parameters"],
            standardization=Standardization(floats["mean"], floats["spread"]), control=floats["control"],
            first_moment=floats["first_moment"], second_moment=floats["second_moment"],
        )  # fmt: skip


def read_arrays(data: bytes) -> Mapping[str, NDArray[Any]]:
    """Named arrays of safetensors. IntegrityError when the bytes are not that."""
    try:
        return safetensors.numpy.load(data)
    except (safetensors.SafetensorError, ValueError, KeyError, json.JSONDecodeError) as error:
        raise IntegrityError(
            f"the arrays cannot be read: {str(error)[:200]}", expected="safetensors", fix="send them again"
        ) from error


def begin_study(study: Study) -> StudyState:
    """The state before the first task."""
    learner, width = learner_of(study), num_inputs(study)
    zeros = np.zeros(learner.num_parameters)
    return StudyState(
        task=1 if study.settings.budget.noise or study.tree_edges else 0,
        parameters=learner.initial(study.settings.rounds.seed),
        standardization=Standardization(np.zeros(width), np.ones(width)), control=zeros, first_moment=zeros,
        second_moment=zeros,
    )  # fmt: skip
