"""What a person chooses of an assistant."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deepseek.automl.options import ProgressCallback
from deepseek.errors import InputError


@dataclass(frozen=True)
class AssistantOptions:
    """Choices of `fit_assistant` and of the bundle."""

    out: Path
    name: str = ""  # of the bundle; by default its folder's
    encoders: tuple[Path, ...] = ()  # Hugging Face folders; none: words and letters alone
    tune: bool = False  # the first encoder learns, too
    precision: float = 0.98  # share of right answers among those that are given alone, 0..1
    confidence: float = 0.95  # of that promise, 0..1
    keep: float = 0.95  # least share of questions in scope that are not handed over, 0..1
    num_folds: int = 4
    seed: int = 0
    overwrite: bool = False
    key: Path | None = None
    dialogue: Path | None = None  # file of slots and flows that the bundle takes with it
    command: str = ""
    progress: ProgressCallback | None = None

    def __post_init__(self) -> None:
        for name in ("precision", "confidence", "keep"):
            if not 0 < getattr(self, name) < 1:
                raise InputError(
                    f"assistant.{name} is {getattr(self, name)}", expected="above 0 and below 1",
                    fix="for 98 % write 0.98",
                )  # fmt: skip
        if self.tune and not self.encoders:
            raise InputError(
                "there is no encoder to tune", expected="--encoder FOLDER beside --tune",
                fix="name the folder of a text model, or leave --tune out",
            )  # fmt: skip

    def tell(self, what: str, share: float) -> None:
        """Progress, where somebody listens."""
        if self.progress is not None:
            self.progress(what, share)
