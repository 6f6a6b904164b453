"""Which rows a server sends to a project, how many, and what of them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from deepseek.errors import InputError
from deepseek.plugins import did_you_mean

WHOLE_NUMBERS = ("waiting",)


@dataclass(frozen=True, slots=True)
class CollectConfig:
    """InputError, which names the field, for a value out of range."""

    project: Path
    share: float = 0.1  # of the requests whose rows are looked at, 0 < share <= 1, chosen by the request's id
    margin: float = 0.2  # probability by which the answer is ahead of the next; above it the model is sure
    waiting: int = 500  # rows from here without a label, beyond which none is sent
    every_s: float = 5.0  # in which rows gather; the least sure of them are sent first
    hide: tuple[str, ...] = ()  # columns whose values are not sent
    texts: str = "masked"  # masked: mail addresses, cards, accounts, phones are replaced; plain; none: not sent
    files: str = "none"  # plain: pictures, sounds and scans are sent as they came; nothing in them can be masked

    def __post_init__(self) -> None:
        for name, low, high in (("share", 0, 1), ("margin", 0, 1), ("waiting", 0, 100_000), ("every_s", 0, 3_600)):
            value = getattr(self, name)
            if not low < value <= high:
                raise _config_error(f"{name} is {value}", f"a number above {low}, at most {high:,}")
        if self.texts not in ("masked", "plain", "none"):
            raise _config_error(f"texts is {self.texts!r}", "masked, plain or none")
        if self.files not in ("plain", "none"):
            raise _config_error(f"files is {self.files!r}", "plain or none")

    @classmethod
    def parse(cls, text: str) -> CollectConfig:
        """The project's folder, and after it NAME=VALUE, between commas; columns between plus signs.

        >>> CollectConfig.parse("claims,share=0.5,hide=name+phone").hide
        ('name', 'phone')
        >>> CollectConfig.parse("claims,shar=0.5")
        Traceback (most recent call last):
            ...
        deepseek.errors.InputError: --unsure-to has no option 'shar'. Did you mean 'share'? ...
        """
        folder, *parts = text.split(",")
        if not folder.strip():
            raise _config_error("--unsure-to has no project", "PROJECT, or PROJECT,NAME=VALUE,...")
        names = [each.name for each in fields(cls) if each.name != "project"]
        usual = cls(Path(folder.strip()))
        values: dict[str, str] = {}
        for part in parts:
            name, _, value = (piece.strip() for piece in part.partition("="))
            if name not in names:
                raise _config_error(f"--unsure-to has no option {name!r}.{did_you_mean(name, names)}", ", ".join(names))
            values[name] = value
        return cls(
            usual.project, _number(values, "share", usual.share), _number(values, "margin", usual.margin),
            int(_number(values, "waiting", usual.waiting)), _number(values, "every_s", usual.every_s),
            tuple(name for name in values.get("hide", "").split("+") if name), values.get("texts", usual.texts),
            values.get("files", usual.files),
        )  # fmt: skip


def _number(values: dict[str, str], name: str, default: float) -> float:
    try:
        number = float(values.get(name, default))
        if name in WHOLE_NUMBERS and not number.is_integer():
            raise ValueError
    except ValueError:
        kind = "a whole number" if name in WHOLE_NUMBERS else "a number"
        raise _config_error(f"{name} of --unsure-to is {values[name]!r}", kind) from None
    return number


def _config_error(message: str, expected: str) -> InputError:
    return InputError(message, expected=expected, fix="for example --unsure-to claims,share=0.1,hide=name")
