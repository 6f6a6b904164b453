"""A teacher, a student and batches -> a trained student, through deepseek.train.fit.

    done = distill(teacher, student, batches, DistillConfig(alpha=0.9, hidden={"encoder.1": "encoder.5"}))

A batch is what `fit` takes: (inputs, labels), a tensor of inputs, or a dict of the model's inputs, in which `labels`
and `teacher_logits` are ours. A label of -100, or none at all, means that nobody knows. The teacher answers each batch
as it comes, so that rows made up anew in each epoch are answered, too; `teacher_logits` have been answered before.
What layers compute is caught by hooks, so the two may be built in any way, as long as their rows and places agree.
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
    """What came of it."""

    student: nn.Module  # trained, in eval mode
    fit: FitResult
    num_parameters: int  # of the student
    share: float  # of the teacher's parameters that it has


def distill(
    teacher: nn.Module | str | Path,
    student: nn.Module | str | Path,
    data: Iterable[Any],
    config: DistillConfig | None = None,
    train: TrainConfig | None = None,
    **given: Any,
) -> DistillationResult:
    """Train `student`, in place, to answer as `teacher` does. Both are modules, or Hugging Face folders of classifiers,
    whose output is logits (N, ..., C), or something with `.logits` or `["logits"]`. The teacher may also be a bundle of
    classes that `ship` or `train` has made: batches are then its prepared features (N, F), see bundle_teacher.py.

    `given` goes on to fit(): optimizer, scheduler, validation (batches, or a function of the student), sinks,
    checkpoints, progress.

    InputError, before any training, for a bundle as the student, a student with more parameters than its teacher,
    outputs of other shapes, a module that is not there or gives no weights of attention, and data without labels where
    only these would teach.

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
    master, pupil = (open_network(one, eager=eager) for one in (teacher, student))
    before, now = parameter_counts(master, pupil)
    lesson = DistillationModule(master, pupil, config)
    with ExitStack() as held:
        held.callback(lesson.close)
        lesson.check(_first_batch(data))
        if callable(measure := given.get("validation")):
            given["validation"] = lambda module: measure(module.student)
        found = fit(lesson, data, train, loss=lesson.loss, **given)
    return DistillationResult(pupil, found, now, now / before)


def parameter_counts(teacher: nn.Module, student: nn.Module) -> tuple[int, int]:
    """The parameters of both. InputError for a student that has more."""
    before, now = (
        one.num_weights if isinstance(one, BundleTeacher) else sum(weight.numel() for weight in one.parameters())
        for one in (teacher, student)
    )
    if now > before:
        raise InputError(
            f"the student has {now:,} parameters, its teacher {before:,}",
            expected="a student no larger than its teacher",
            fix="exchange the two, or take fewer layers (layer_initialised) or narrower ones",
        )
    return before, now


def _is_bundle(model: nn.Module | str | Path) -> bool:
    return not isinstance(model, nn.Module) and (Path(model) / "bundle.json").is_file()


def open_network(model: nn.Module | str | Path, *, eager: bool = False) -> nn.Module:
    """A module as it is; a bundle as a teacher; of a Hugging Face folder its classifier, never with code of the folder.
    `eager`: so that its layers give their weights of attention. MissingError for what is none of these."""
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
    found: nn.Module = transformers.AutoModelForSequenceClassification.from_pretrained(
        model, trust_remote_code=False, local_files_only=True, use_safetensors=True,
        attn_implementation="eager" if eager else "sdpa",
    )  # fmt: skip
    return found


class DistillationOutputs(NamedTuple):
    """Of both, to one batch."""

    logits: Tensor  # of the student
    answered: Tensor  # by the teacher
    mask: Tensor | None  # (N, L), 0 for padding
    places: tuple[Any, ...]  # inputs without a name


class DistillationModule(nn.Module):
    """What is trained: the student, and what projects its states to the width of its teacher's."""

    def __init__(self, teacher: nn.Module, student: nn.Module, config: DistillConfig) -> None:
        super().__init__()
        self.student, self.settings = student, config
        self._teacher = [teacher.eval()]  # in a list: not a part, so neither trained nor set to training
        self.projections = nn.ModuleDict()
        self._hooks: list[Any] = []
        self._seen: dict[tuple[str, str, str], Any] = {}

    def forward(self, *places: Any, **named: Any) -> DistillationOutputs:
        inputs = {name: value for name, value in named.items() if name not in (LABELS, TEACHER_LOGITS)}
        logits, answered = logits_of(self.student(*places, **inputs)), named.get(TEACHER_LOGITS)
        if answered is None or self.settings.hidden or self.settings.attention:
            with torch.no_grad():
                answered = logits_of(self._teacher[0](*places, **inputs))
        return DistillationOutputs(logits, answered, inputs.get(MASK), places)

    def loss(self, found: DistillationOutputs, *rest: Any) -> Tensor:
        """As `fit` calls it, with what a batch holds beside the inputs."""
        config, labels = self.settings, batch_labels(found, *rest)
        losses = []
        if config.alpha > 0:
            losses.append(config.alpha * distillation_loss(found.logits, found.answered, config.temperature))
        if config.alpha < 1 and labels is not None:
            losses.append((1 - config.alpha) * labels_loss(found.logits, labels))
        for own, other in config.hidden.items():
            mine = self.projections[_module_key(own)](self._seen["student", "hidden", own])
            theirs = self._seen["teacher", "hidden", other]
            losses.append(config.hidden_weight * hidden_loss(mine, theirs, found.mask, config.match))
        for own, other in config.attention.items():
            mine, theirs = self._seen["student", "attention", own], self._seen["teacher", "attention", other]
            losses.append(config.attention_weight * attention_loss(mine, theirs, found.mask))
        return torch.stack(losses).sum() if losses else found.logits.sum() * 0

    @torch.no_grad()
    def check(self, batch: Any) -> None:
        """InputError when the two do not fit together on this batch. Sets the hooks and makes the projections."""
        for kind in ("hidden", "attention"):
            for own, other in getattr(self.settings, kind).items():
                self._watch("student", self.student, kind, own)
                self._watch("teacher", self._teacher[0], kind, other)
        was_training = self.training
        device = next(self.student.parameters()).device
        self._teacher[0].to(device)
        batch = to_device(batch, device)
        inputs, rest = (batch[0], batch[1:]) if isinstance(batch, (tuple, list)) else (batch, (batch,))
        try:
            found = self.eval()._on(inputs)
        except (RuntimeError, ValueError, TypeError, LookupError, AttributeError) as error:
            raise InputError(
                f"the teacher or the student fails on a batch of {describe_batch(batch)}: {error}",
                expected="a batch that both take, and logits from both",
                fix="call teacher(inputs) and student(inputs) on one batch by hand",
            ) from error
        self.train(was_training)
        if found.answered.shape != found.logits.shape:
            raise InputError(
                f"the student gives {list(found.logits.shape)}, the teacher {list(found.answered.shape)}",
                expected="the same shape, (N, classes)", fix="give the student as many outputs as its teacher has",
            )  # fmt: skip
        self._check_labels(batch_labels(found, *rest), found.logits)
        self._check_seen()
        for mine, theirs in self.settings.hidden.items():
            sizes = (self._seen["student", "hidden", mine].shape[-1], self._seen["teacher", "hidden", theirs].shape[-1])
            self.projections[_module_key(mine)] = nn.Linear(*sizes).to(device)

    def _on(self, inputs: Any) -> DistillationOutputs:
        """As `fit` calls a module."""
        if isinstance(inputs, Mapping):
            return cast("DistillationOutputs", self(**inputs))
        return cast("DistillationOutputs", self(*inputs) if isinstance(inputs, (tuple, list)) else self(inputs))

    def close(self) -> None:
        """Take the hooks off again."""
        for hook in self._hooks:
            hook.remove()
        self._seen.clear()

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

    def _check_seen(self) -> None:
        """Every watched module has run and given what is asked of it, and the two agree in all but the last axis."""
        for kind in ("hidden", "attention"):
            for own, other in getattr(self.settings, kind).items():
                mine, theirs = self._shape("student", kind, own), self._shape("teacher", kind, other)
                same = mine[:-1] == theirs[:-1] if kind == "hidden" else mine[0] == theirs[0] and mine[2:] == theirs[2:]
                if not same:
                    raise InputError(
                        f"{own!r} of the student gives {list(mine)}, {other!r} of the teacher {list(theirs)}",
                        expected="the same rows and places", fix=f"name other modules in distill.{kind}",
                    )  # fmt: skip

    def _shape(self, who: str, kind: str, name: str) -> torch.Size:
        found = self._seen.get((who, kind, name))
        if not isinstance(found, Tensor) or (kind == "attention" and found.dim() != 4):
            raise InputError(
                _no_output_message(kind, who, name), expected=_EXPECTED_MODULE[kind], fix=_MODULE_FIX[kind]
            )
        return found.shape

    def _watch(self, who: str, model: nn.Module, kind: str, name: str) -> None:
        named = dict(model.named_modules())
        if name not in named:
            raise InputError(
                f"the {who} has no module {name!r}.{did_you_mean(name, named)}",
                expected=f"a name of its named_modules(), such as {', '.join(list(named)[1:4])}",
                fix=f"correct distill.{kind}",
            )

        def keep(_module: nn.Module, _inputs: Any, output: Any) -> None:
            self._seen[who, kind, name] = _layer_output(kind, output)

        self._hooks.append(named[name].register_forward_hook(keep))


def batch_labels(found: DistillationOutputs, *rest: Any) -> Tensor | None:
    """Of a batch: in a dict by name, in a tuple behind the inputs; None for a tensor, which is the inputs alone."""
    first = rest[0] if rest else None
    if isinstance(first, Mapping):
        return first.get(LABELS)
    return None if found.places and first is found.places[0] else first


def logits_of(output: Any) -> Tensor:
    """TypeError for an output without."""
    found = output["logits"] if isinstance(output, dict) else getattr(output, "logits", output)
    if not isinstance(found, Tensor):
        raise TypeError(f"the output is a {type(output).__name__}, and no logits are in it")
    return found


def _layer_output(kind: str, output: Any) -> Any:
    if kind == "attention":
        return output[1] if isinstance(output, (tuple, list)) and len(output) > 1 else None
    return output[0] if isinstance(output, (tuple, list)) else getattr(output, "last_hidden_state", output)


def _no_output_message(kind: str, who: str, name: str) -> str:
    what = "weights of attention" if kind == "attention" else "states"
    return f"{name!r} of the {who} gives no {what}"


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
    """The first batch. InputError for data that could then not be read from its start."""
    if isinstance(data, Iterator):
        raise InputError(
            f"the data is a {type(data).__name__}, which can be read once, and its first batch is looked at beforehand",
            expected="an iterable that begins anew", fix="give a list, a DataLoader or a stream",
        )  # fmt: skip
    for batch in data:
        return batch
    raise InputError("there are no batches to train on", expected="at least one", fix="give a loader that yields rows")
