"""Distillation training: a teacher, a student and batches -> a trained student, through deepseek.train.fit.

    done = distill(teacher, student, batches, DistillConfig(alpha=0.9, hidden={"encoder.1": "encoder.5"}))

A batch is what `fit` takes: (inputs, labels), a tensor of inputs, or a dict of the model's inputs, in which the keys
`labels` and `teacher_logits` belong to the distillation. A label of -100, or none at all, means an unlabeled row. The
teacher runs on each batch as it comes, so that rows generated anew in each epoch are covered; where a batch has
`teacher_logits`, these are used instead. Activations are recorded by hooks, so the two modules may be built in any way,
as long as their rows and tokens agree.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from deepseek.compress.distilling.bundle_teacher import BundleTeacher
from deepseek.compress.distilling.config import DistillConfig
from deepseek.compress.distilling.losses import attention_loss, distillation_loss, hidden_loss, labels_loss
from deepseek.errors import InputError, MissingError
from deepseek.extras import need
from deepseek.plugins import did_you_mean
from deepseek.train.loop.config import TrainConfig
from deepseek.train.loop.loop import FitResult, fit
from deepseek.train.loop.stream import describe_batch, to_device

LABELS, TEACHER_LOGITS, MASK = "labels", "teacher_logits", "attention_mask"


@dataclass(frozen=True)
class DistillationResult:
    """A trained student and what its training reported."""

    student: nn.Module  # trained, in eval mode
    fit: FitResult
    num_parameters: int  # of the student
    share: float  # student's parameters over the teacher's


def distill(
    teacher: nn.Module | str | Path,
    student: nn.Module | str | Path,
    data: Iterable[Any],
    config: DistillConfig | None = None,
    train: TrainConfig | None = None,
    **fit_options: Any,
) -> DistillationResult:
    """Train `student`, in place, to reproduce the outputs of `teacher`. Both are modules, or Hugging Face folders of
    classifiers, whose output is logits (N, ..., C), or something with `.logits` or `["logits"]`. The teacher may also
    be a classifier's bundle from `ship` or `train`: batches are then its prepared features (N, F), see
    bundle_teacher.py.

    `fit_options` are passed on to fit(): optimizer, scheduler, validation (batches, or a function of the student),
    sinks, checkpoints, progress.

    InputError, before any training, for a bundle as the student, a student with more parameters than its teacher,
    outputs of different shapes, a module that does not exist or returns no attention weights, and data without labels
    where the loss would use labels alone.

    >>> torch.manual_seed(0).seed() and None
    >>> teacher = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))
    >>> student, rows = nn.Linear(4, 3), [torch.randn(64, 4) for _ in range(20)]
    >>> done = distill(teacher, student, rows, DistillConfig(alpha=1.0), TrainConfig(epochs=5, lr=1e-2))
    >>> done.fit.losses[-1] < done.fit.losses[0], done.num_parameters, round(done.share, 2)
    (True, 15, 0.11)
    """
    config, train = config or DistillConfig(), train or TrainConfig()
    eager = bool(config.attention)
    if _is_bundle(student):
        raise InputError(
            f"{student} is a bundle, which does not learn further",
            expected="a torch module, or a Hugging Face folder of a classifier, as the student",
            fix="build the student in torch; a bundle can be the teacher",
        )
    teacher_network, student_network = (open_network(network, eager=eager) for network in (teacher, student))
    teacher_size, student_size = parameter_counts(teacher_network, student_network)
    distillation = DistillationModule(teacher_network, student_network, config)
    with ExitStack() as stack:
        stack.callback(distillation.close)
        distillation.check(_first_batch(data))
        if callable(measure := fit_options.get("validation")):
            fit_options["validation"] = lambda module: measure(module.student)
        fit_result = fit(distillation, data, train, loss=distillation.loss, **fit_options)
    return DistillationResult(student_network, fit_result, student_size, student_size / teacher_size)


def parameter_counts(teacher: nn.Module, student: nn.Module) -> tuple[int, int]:
    """Numbers of parameters (teacher, student). InputError for a student that has more than its teacher."""
    teacher_size, student_size = (
        network.num_weights
        if isinstance(network, BundleTeacher)
        else sum(weight.numel() for weight in network.parameters())
        for network in (teacher, student)
    )
    if student_size > teacher_size:
        raise InputError(
            f"the student has {student_size:,} parameters, its teacher {teacher_size:,}",
            expected="a student no larger than its teacher",
            fix="exchange the two, or take fewer layers (init_student_from_layers) or narrower ones",
        )
    return teacher_size, student_size


def _is_bundle(model: nn.Module | str | Path) -> bool:
    return not isinstance(model, nn.Module) and (Path(model) / "bundle.json").is_file()


def open_network(model: nn.Module | str | Path, *, eager: bool = False) -> nn.Module:
    """`model` as a module: a module unchanged, a bundle as a BundleTeacher, the classifier of a Hugging Face folder
    (code in the folder is never run). `eager`: attention that returns its weights. MissingError for anything else."""
    if isinstance(model, nn.Module):
        return model
    if _is_bundle(model):
        return BundleTeacher(Path(model))
    if not (Path(model) / "config.json").is_file():
        raise MissingError(
            f"there is no model at {model}", expected="a torch module, a bundle, or a Hugging Face folder",
            fix="check the path",
        )  # fmt: skip
    transformers = need("transformers", extra="compress")
    network: nn.Module = transformers.AutoModelForSequenceClassification.from_pretrained(
        model, trust_remote_code=False, local_files_only=True, use_safetensors=True,
        attn_implementation="eager" if eager else "sdpa",
    )  # fmt: skip
    return network


class DistillationOutputs(NamedTuple):
    """Outputs of student and teacher for one batch."""

    logits: Tensor  # of the student
    teacher_logits: Tensor
    mask: Tensor | None  # (N, L), 0 for padding
    positional: tuple[Any, ...]  # inputs without a name


class DistillationModule(nn.Module):
    """The module that is trained: the student, and linear projections of its hidden states to the teacher's width."""

    def __init__(self, teacher: nn.Module, student: nn.Module, config: DistillConfig) -> None:
        super().__init__()
        self.student, self.settings = student, config
        self._teacher = [teacher.eval()]  # in a list: no submodule, so neither trained nor set to train mode
        self.projections = nn.ModuleDict()
        self._hooks: list[Any] = []
        self._recorded: dict[tuple[str, str, str], Any] = {}

    def forward(self, *positional: Any, **keywords: Any) -> DistillationOutputs:
        inputs = {name: value for name, value in keywords.items() if name not in (LABELS, TEACHER_LOGITS)}
        logits, teacher_logits = logits_of(self.student(*positional, **inputs)), keywords.get(TEACHER_LOGITS)
        if teacher_logits is None or self.settings.hidden or self.settings.attention:
            with torch.no_grad():
                teacher_logits = logits_of(self._teacher[0](*positional, **inputs))
        return DistillationOutputs(logits, teacher_logits, inputs.get(MASK), positional)

    def loss(self, outputs: DistillationOutputs, *batch_rest: Any) -> Tensor:
        """The distillation loss as `fit` calls it; `batch_rest` is what a batch holds after the inputs."""
        config, labels = self.settings, batch_labels(outputs, *batch_rest)
        losses = []
        if config.alpha > 0:
            losses.append(config.alpha * distillation_loss(outputs.logits, outputs.teacher_logits, config.temperature))
        if config.alpha < 1 and labels is not None:
            losses.append((1 - config.alpha) * labels_loss(outputs.logits, labels))
        for name, student_states, teacher_states in self._layer_pairs("hidden"):
            projected = self.projections[_module_key(name)](student_states)
            losses.append(config.hidden_weight * hidden_loss(projected, teacher_states, outputs.mask, config.match))
        for _, student_weights, teacher_weights in self._layer_pairs("attention"):
            losses.append(config.attention_weight * attention_loss(student_weights, teacher_weights, outputs.mask))
        return torch.stack(losses).sum() if losses else outputs.logits.sum() * 0

    @torch.no_grad()
    def check(self, batch: Any) -> None:
        """Register the hooks, run both on one batch and create the projections. InputError when the two do not fit
        together."""
        for kind in ("hidden", "attention"):
            for student_name, teacher_name in getattr(self.settings, kind).items():
                self._record_activations("student", self.student, kind, student_name)
                self._record_activations("teacher", self._teacher[0], kind, teacher_name)
        was_training = self.training
        device = next(self.student.parameters()).device
        self._teacher[0].to(device)
        batch = to_device(batch, device)
        inputs, rest = (batch[0], batch[1:]) if isinstance(batch, (tuple, list)) else (batch, (batch,))
        try:
            outputs = self.eval()._call(inputs)
        except (RuntimeError, ValueError, TypeError, LookupError, AttributeError) as error:
            raise InputError(
                f"the teacher or the student fails on a batch of {describe_batch(batch)}: {error}",
                expected="a batch that both take, and logits from both",
                fix="call teacher(inputs) and student(inputs) on one batch by hand",
            ) from error
        self.train(was_training)
        if outputs.teacher_logits.shape != outputs.logits.shape:
            raise InputError(
                f"the student gives {list(outputs.logits.shape)}, the teacher {list(outputs.teacher_logits.shape)}",
                expected="the same shape, (N, classes)", fix="give the student as many outputs as its teacher has",
            )  # fmt: skip
        self._check_labels(batch_labels(outputs, *rest), outputs.logits)
        self._check_recorded()
        for name, student_states, teacher_states in self._layer_pairs("hidden"):
            projection = nn.Linear(student_states.shape[-1], teacher_states.shape[-1])
            self.projections[_module_key(name)] = projection.to(device)

    def _call(self, inputs: Any) -> DistillationOutputs:
        """Call this module on a batch's inputs as `fit` does: a mapping, a sequence or one tensor."""
        if isinstance(inputs, Mapping):
            return cast("DistillationOutputs", self(**inputs))
        return cast("DistillationOutputs", self(*inputs) if isinstance(inputs, (tuple, list)) else self(inputs))

    def close(self) -> None:
        """Remove the hooks and what they recorded."""
        for hook in self._hooks:
            hook.remove()
        self._recorded.clear()

    def _check_labels(self, labels: Tensor | None, logits: Tensor) -> None:
        config = self.settings
        teaches = config.alpha > 0 or config.hidden or config.attention
        if labels is None and not teaches:
            raise InputError(
                "distill.alpha is 0 and the first batch has no labels, so nothing teaches the student",
                expected="labels, or an alpha above 0", fix="set distill.alpha to 1 for rows without labels",
            )  # fmt: skip
        if labels is not None and (labels.is_floating_point() or labels.max() >= logits.shape[-1]):
            raise InputError(
                f"the labels of the first batch are {labels.dtype} up to {labels.max().item():g}",
                expected=f"whole numbers below {logits.shape[-1]}, and -100 where nobody knows",
                fix="number the classes from 0, as the teacher does",
            )

    def _layer_pairs(self, kind: str) -> Iterator[tuple[str, Tensor, Tensor]]:
        """(name of the student's module, its tensor, the teacher's tensor) that the last forward passes recorded, for
        `kind` "hidden" or "attention"."""
        for student_name, teacher_name in getattr(self.settings, kind).items():
            yield (
                student_name,
                self._recorded["student", kind, student_name],
                self._recorded["teacher", kind, teacher_name],
            )

    def _check_recorded(self) -> None:
        """InputError unless every recorded module ran, and the shapes of a pair agree but for the width of hidden
        states or the number of heads."""
        for kind in ("hidden", "attention"):
            for student_name, teacher_name in getattr(self.settings, kind).items():
                student_shape = self._recorded_shape("student", kind, student_name)
                teacher_shape = self._recorded_shape("teacher", kind, teacher_name)
                if _common_axes(kind, student_shape) != _common_axes(kind, teacher_shape):
                    raise InputError(
                        f"{student_name!r} of the student gives {list(student_shape)}, "
                        f"{teacher_name!r} of the teacher {list(teacher_shape)}",
                        expected="the same rows and places", fix=f"name other modules in distill.{kind}",
                    )  # fmt: skip

    def _recorded_shape(self, role: str, kind: str, name: str) -> torch.Size:
        recorded = self._recorded.get((role, kind, name))
        if not isinstance(recorded, Tensor) or (kind == "attention" and recorded.dim() != 4):
            what = "weights of attention" if kind == "attention" else "states"
            raise InputError(
                f"{name!r} of the {role} gives no {what}", expected=_EXPECTED_MODULE[kind], fix=_MODULE_FIX[kind]
            )
        return recorded.shape

    def _record_activations(self, role: str, model: nn.Module, kind: str, name: str) -> None:
        modules = dict(model.named_modules())
        if name not in modules:
            raise InputError(
                f"the {role} has no module {name!r}.{did_you_mean(name, modules)}",
                expected=f"a name of its named_modules(), such as {', '.join(list(modules)[1:4])}",
                fix=f"correct distill.{kind}",
            )

        def record(_module: nn.Module, _inputs: Any, output: Any) -> None:
            self._recorded[role, kind, name] = _layer_output(kind, output)

        self._hooks.append(modules[name].register_forward_hook(record))


def batch_labels(outputs: DistillationOutputs, *rest: Any) -> Tensor | None:
    """Labels of a batch, or None: by name in a dict, after the inputs in a tuple; a tensor is inputs alone."""
    first = rest[0] if rest else None
    if isinstance(first, Mapping):
        return first.get(LABELS)
    return None if outputs.positional and first is outputs.positional[0] else first


def logits_of(output: Any) -> Tensor:
    """The logits in a module's output: a tensor, `output["logits"]` or `output.logits`. TypeError without any."""
    logits = output["logits"] if isinstance(output, dict) else getattr(output, "logits", output)
    if not isinstance(logits, Tensor):
        raise TypeError(f"the output is a {type(output).__name__}, and no logits are in it")
    return logits


def _layer_output(kind: str, output: Any) -> Any:
    if kind == "attention":
        return output[1] if isinstance(output, (tuple, list)) and len(output) > 1 else None
    return output[0] if isinstance(output, (tuple, list)) else getattr(output, "last_hidden_state", output)


def _common_axes(kind: str, shape: torch.Size) -> tuple[int, ...]:
    """The sizes that a student has to share with its teacher: all but the width of states, or the number of heads."""
    return tuple(shape[:-1]) if kind == "hidden" else (*shape[:1], *shape[2:])


_EXPECTED_MODULE = {
    "hidden": "a module that runs once for each batch and gives a tensor",
    "attention": "a module that returns (output, weights), the weights (N, heads, L, L)",
}
_MODULE_FIX = {
    "hidden": "name another module in distill.hidden",
    "attention": "open models of Hugging Face with attn_implementation='eager', call torch's MultiheadAttention with "
    "average_attn_weights=False, or leave distill.attention out",
}


def _module_key(name: str) -> str:
    return name.replace(".", "/")  # a name in a ModuleDict may hold no dot


def _first_batch(data: Iterable[Any]) -> Any:
    """The first batch. InputError for an iterator, which could not be read from its start again, and for no batches."""
    if isinstance(data, Iterator):
        raise InputError(
            f"the data is a {type(data).__name__}, which can be read once, and its first batch is looked at beforehand",
            expected="an iterable that begins anew", fix="give a list, a DataLoader or a stream",
        )  # fmt: skip
    for batch in data:
        return batch
    raise InputError("there are no batches to train on", expected="at least one", fix="give a loader that yields rows")
