"""What the prediction log keeps, for how long, and in how much of the disk."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from deepseek.errors import InputError
from deepseek.plugins import did_you_mean

INPUT_KINDS = ("values", "hashed", "none")


@dataclass(frozen=True, slots=True)
class PredictionLogConfig:
    """InputError, which names the field, for a value out of range."""

    folder: Path
    inputs: str = "values"  # values; hashed: equal values stay equal, and are not told; none
    sample: float = 1.0  # share of the requests that are logged, 0 < sample <= 1, chosen by the request's id
    days: float = 7.0  # older files are removed
    gib: float = 1.0  # of all files together; beyond it the oldest are removed
    flush_s: float = 10.0  # rows wait in memory for so long: what a killed process loses

    def __post_init__(self) -> None:
        if self.inputs not in INPUT_KINDS:
            raise _config_error(
                f"inputs is {self.inputs!r}.{did_you_mean(self.inputs, INPUT_KINDS)}", ", ".join(INPUT_KINDS)
            )
        if not 0 < self.sample <= 1:
            raise _config_error(f"sample is {self.sample}", "a share above 0, at most 1")
        for name, low, high in (("days", 0, 36_500), ("gib", 0, 1e6), ("flush_s", 0, 3_600)):
            value = getattr(self, name)
            if not low < value <= high:
                raise _config_error(f"{name} is {value}", f"a number above {low}, at most {high:g}")

    @classmethod
    def parse(cls, text: str) -> PredictionLogConfig:
        """The folder, and after it NAME=VALUE, between commas.

        >>> PredictionLogConfig.parse("log,sample=0.1,days=30").days
        30.0
        >>> PredictionLogConfig.parse("log,sampel=0.1")
        Traceback (most recent call last):
            ...
        deepseek.errors.InputError: the prediction log has no option 'sampel'. Did you mean 'sample'? ...
        """
        folder, *parts = text.split(",")
        if not folder.strip():
            raise _config_error("the prediction log has no folder", "FOLDER, or FOLDER,NAME=VALUE,...")
        names = [each.name for each in fields(cls) if each.name != "folder"]
        numbers: dict[str, float] = {}
        settings = cls(Path(folder.strip()))
        inputs = settings.inputs
        for part in parts:
            name, _, value = (piece.strip() for piece in part.partition("="))
            if name not in names:
                raise _config_error(
                    f"the prediction log has no option {name!r}.{did_you_mean(name, names)}", ", ".join(names)
                )
            if name == "inputs":
                inputs = value
            else:
                numbers[name] = _parse_number(name, value)
        return cls(
            settings.folder, inputs, numbers.get("sample", settings.sample), numbers.get("days", settings.days),
            numbers.get("gib", settings.gib), numbers.get("flush_s", settings.flush_s),
        )  # fmt: skip


def _parse_number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise _config_error(f"{name} of the prediction log is {text!r}", "a number") from None


def _config_error(message: str, expected: str) -> InputError:
    return InputError(message, expected=expected, fix="for example --prediction-log predictions,sample=0.1,days=30")
