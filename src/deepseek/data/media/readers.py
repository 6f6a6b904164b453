"""The readers of media by the kind of column that they read; each module is imported when its kind is first asked for.

>>> reader_class("text").__name__
'TextReader'
>>> reader_class("hologram")
Traceback (most recent call last):
    ...
deepseek.errors.InputError: there is no reader for columns of the kind 'hologram'. Expected: text, image, audio, \
video, volume, series. To mend it: give the column one of these kinds.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

from deepseek.errors import InputError
from deepseek.plugins import did_you_mean

READERS = {
    "text": ("text", "TextReader"), "image": ("image", "ImageReader"), "audio": ("audio", "AudioReader"),
    "video": ("video", "VideoReader"), "volume": ("scan", "ScanReader"), "series": ("series", "SeriesReader"),
}  # fmt: skip


def reader_class(kind: str) -> Any:
    """The class of the reader for a kind of column. InputError names the near one when there is none."""
    if kind not in READERS:
        hint = did_you_mean(kind, READERS)
        raise InputError(
            f"there is no reader for columns of the kind {kind!r}{'.' + hint if hint else ''}",
            expected=", ".join(READERS), fix="give the column one of these kinds",
        )  # fmt: skip
    module, name = READERS[kind]
    return getattr(importlib.import_module(f"deepseek.data.media.{module}"), name)


@cache
def suffix_kinds() -> dict[str, str]:
    """Kinds by the suffixes of file names, the longest first: ".nii.gz" before ".gz"."""
    kinds = {suffix: kind for kind in READERS for suffix in reader_class(kind).suffixes if kind != "text"}
    return dict(sorted(kinds.items(), key=lambda item: -len(item[0])))
