"""What a person may ask of `ship`, checked before anything heavy is imported."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepseek.errors import InputError

if TYPE_CHECKING:
    from deepseek.contracts import JsonObject, Task

ProgressCallback = Callable[[str, float], None]  # what is going on, and the share of the work that is done


@dataclass(frozen=True)
class ShipOptions:
    """Everything but the data. Each field is an argument of `ship` by the same name."""

    target: str
    out: str | Path | None = None
    name: str | None = None
    test: Any = None  # rows of the user's own, read like the data
    validation: Any = None
    split: str = "random"  # random, time, time:COLUMN or group:COLUMN; time alone is by the one column of dates
    seed: int = 0
    budget_s: float = 120.0  # CPU seconds of all threads
    memory_bytes: float | None = (
        None  # that the run may take; a file of more rows is sampled. By default 0.7 of the free
    )
    trials: int | None = None  # exactly so many, whatever they cost
    task: Task | None = None  # binary, multiclass or regression; by default what the target looks like
    metric: str | None = None
    positive: str | None = None  # the class of two that thresholds speak of; by default the second in order
    candidates: Sequence[str] | None = None
    kinds: Mapping[str, str] | None = None
    drop: Sequence[str] = ()
    missing: Sequence[str] = ()  # cells among numbers or dates that mean "not known", beside the usual ones
    drop_missing_target: bool = False  # leave out rows without a target instead of refusing them
    weights: str | None = None
    monotone: Mapping[str, int] | None = None  # column: 1 or -1
    costs: Any = None
    max_fpr: float | None = None  # 0..1
    min_recall: float | None = None  # 0..1
    interval: float = 0.9  # 0..1
    segments: Sequence[str] = ()
    fairness: str | None = None
    reference: bool = False
    refit: bool = False  # fit once more on all rows, those that it was measured on too
    key: Path | None = None
    overwrite: bool = False
    progress: ProgressCallback | None = None
    command: str | None = None
    allow: Sequence[str] = field(default=())  # findings of the leak check that are accepted, by name
    files: str | Path | None = None  # the folder that paths in the data lie below; by default that of the data's file
    broken: str = "fail"  # what a file does that cannot be read: "fail" the run, or "mask" the value and count it
    workers: int = 2  # processes that decode files; 0 decodes in this one
    encoders: Mapping[str, str | Path] | None = None  # column: folder of a text model, or NAME:FILE of an image net
    against: str | Path | None = None  # an older bundle that the new model is compared with on the test rows
    train_encoders: Sequence[str] = ()  # columns of these whose encoder goes on learning; the others stay as they are
    cluster: str | None = None  # of Ray, whose workers fit: "ray" (one on this machine), "auto" or HOST:PORT
    distributed_fit: bool = False  # the last fit of boosted trees over all workers, also where the rows fit into memory

    def __post_init__(self) -> None:
        self._check_types()
        checks = (
            ("seed", 0 <= self.seed < 2**31, "between 0 and 2,147,483,647"),
            ("budget_s", self.budget_s > 0, "CPU seconds above 0"),
            ("memory_bytes", self.memory_bytes is None or self.memory_bytes > 0, "bytes above 0"),
            ("trials", self.trials is None or self.trials >= 1, "at least 1"),
            ("interval", 0 < self.interval < 1, "a share between 0 and 1, such as 0.9"),
            ("max_fpr", self.max_fpr is None or 0 <= self.max_fpr <= 1, "a share between 0 and 1; for 5 % write 0.05"),
            ("min_recall", self.min_recall is None or 0 <= self.min_recall <= 1, "a share between 0 and 1"),
            ("broken", self.broken in ("fail", "mask"), "fail or mask"),
            ("workers", 0 <= self.workers <= 256, "between 0 and 256"),
        )
        for name, good, expected in checks:
            if not good:
                raise InputError(
                    f"ship.{name} is {getattr(self, name)}", expected=expected, fix=f"give {name} such a value"
                )
        if self.task not in (None, "binary", "multiclass", "regression"):
            raise InputError(
                f"ship.task is {self.task!r}",
                expected="binary, multiclass or regression",
                fix="choose one, or leave task out",
            )
        for name, columns in (
            ("weights", [self.weights]), ("split", [self.split.partition(":")[2]]), ("drop", self.drop),
            ("monotone", self.monotone or ()),
        ):  # fmt: skip
            if self.target in columns:
                raise InputError(
                    f"ship.{name} names {self.target!r}, which is the target",
                    expected="another column",
                    fix=f"take {self.target!r} out of {name}, or name another target",
                )
        self._check_cluster()
        if self.refit and (self.max_fpr is not None or self.min_recall is not None):
            raise InputError(
                "ship.refit and a limit on errors do not go together: nobody would have measured the shipped model",
                expected="refit, or max_fpr or min_recall",
                fix="leave refit out; or bring test rows of your own instead: then all others are fitted on",
            )  # fmt: skip
        for column in self.train_encoders:
            if column not in (self.encoders or {}):
                raise InputError(
                    f"ship.train_encoders names {column!r}, which has no encoder of yours",
                    expected="a column that encoders names", fix=f"give {column!r} an encoder, or leave it out",
                )  # fmt: skip
        for column, sign in (self.monotone or {}).items():
            if sign not in (1, -1):
                raise InputError(
                    f"monotone {column!r} is {sign!r}",
                    expected="1 (rising) or -1 (falling)",
                    fix="give it one of these",
                )

    def _check_cluster(self) -> None:
        if self.cluster is not None:
            from deepseek.serve.cluster.connection import check_cluster

            check_cluster(self.cluster)
        elif self.distributed_fit:
            raise InputError(
                "ship.distributed_fit is for a cluster", expected="a cluster whose workers fit",
                fix="give cluster such as ray, or leave distributed_fit out",
            )  # fmt: skip

    def _check_types(self) -> None:
        for names, types, expected in (
            (("seed", "trials", "workers"), int, "a whole number"),
            (("budget_s", "memory_bytes", "interval", "max_fpr", "min_recall"), (int, float), "a number"),
            (("candidates", "drop", "segments", "allow", "train_encoders"), (list, tuple, set), "a list of names"),
            (("encoders",), Mapping, "a column and its encoder"),
        ):
            for name in names:
                value = getattr(self, name)
                if value is not None and not isinstance(value, types):
                    raise InputError(f"ship.{name} is {value!r}", expected=expected, fix=f"give {name} such a value")

    def config(self) -> JsonObject:
        """The options as plain JSON, for the lineage: no data, no keys, no callbacks."""
        left_out = {"test", "validation", "key", "progress", "command", "out", "overwrite"}
        left_out |= {"files", "workers", "encoders", "memory_bytes", "against", "cluster"}  # of one machine
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in left_out}
        return {
            name: dict(v) if isinstance(v, Mapping) else list(v) if isinstance(v, (tuple, set)) else _array_to_list(v)
            for name, v in plain.items()
        }


def _array_to_list(value: Any) -> Any:
    """An array as lists; anything else as it is."""
    return value.tolist() if hasattr(value, "tolist") else value
