"""Which columns of a table name files, and of which kind: by suffixes, by what lies in folders, by what is there.

find_media(table, root=Path("patients"))           # {"ct": "image", "cough": "audio"}
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from deepseek.data.media.readers import suffix_kinds
from deepseek.data.media.source import is_address, is_missing
from deepseek.data.table.table import Table

NUM_SAMPLED_VALUES = 200  # values of a column that are looked at to find its kind
MIN_KIND_SHARE = 0.9


def find_media(table: Table, *, root: Path) -> dict[str, str]:
    """The kind of each column of text that names files below `root`: by their suffix, or for folders by what lies in
    them. A column is of a kind when MIN_KIND_SHARE of its values are and one of them is there: a table may hold names
    of files that are elsewhere.

    >>> import numpy as np
    >>> table = Table({"ct": np.array(["a.png", "b.PNG", None], object)}, {"ct": "text"})
    >>> find_media(table, root=Path("no/such/folder"))
    {}
    """
    kind_of_column: dict[str, str] = {}
    for name in table.names:
        if table.types[name] != "text":
            continue
        values = [value for value in table.column(name).tolist() if not is_missing(value)][:NUM_SAMPLED_VALUES]
        kinds = Counter(_kind_of_path(value, root) for value in values)
        for kind, count in kinds.items():
            if (
                kind is not None
                and count >= MIN_KIND_SHARE * len(values)
                and any(_names_file(value, root) for value in values)
            ):
                kind_of_column[name] = kind
    return kind_of_column


def _names_file(value: str, root: Path) -> bool:
    """Whether a value names an existing file, or is an address, which is refused by name when it is opened."""
    try:
        return is_address(value) or (root / value).exists()
    except (OSError, ValueError):  # too long, or a NUL
        return False


def _kind_of_path(value: str, root: Path) -> str | None:
    if "\n" in value or len(value) > 1_000:
        return None
    name = value.lower()
    kind = next((kind for suffix, kind in suffix_kinds().items() if name.endswith(suffix)), None)
    if kind or "." in name[-5:]:
        return kind
    try:
        folder = root / value
        inside = sorted(entry.name.lower() for entry in folder.iterdir()) if folder.is_dir() else []
    except (OSError, ValueError):
        return None
    return "volume" if inside and (inside[0].endswith((".dcm", ".dicom")) or "." not in inside[0]) else None
