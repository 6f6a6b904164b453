"""Which names a file inside a bundle may have, so that a bundle means the same on every disk and stays in its folder.

A name is a relative POSIX path in Unicode's composed form. Two names that some file system would take for one are
refused, as is anything that could lead outside.

>>> path_problem("weights/part-0.safetensors")
>>> path_problem("../secret")
"'../secret' has the part '..', which leads outside the folder"
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

MANIFEST = "bundle.json"
SIGNATURE = "bundle.sig"
METRICS_FILE = "evidence/metrics.json"
MAX_FILES = 10_000
MAX_PATH_BYTES = 512
MAX_PART_BYTES = 200
MAX_DEPTH = 8


def path_problem(name: str) -> str | None:
    """What is wrong with one name, in words that quote it; None when it may be used."""
    parts = name.split("/")
    if not name.isprintable():
        return f"{name!r} holds a character that cannot be printed"
    if "\\" in name or ":" in name:
        return f"{name!r} holds '\\' or ':', which mean a path or a drive elsewhere"
    if name.startswith("/"):
        return f"{name!r} is absolute"
    if len(name.encode()) > MAX_PATH_BYTES or len(parts) > MAX_DEPTH:
        return f"{name[:80]!r}... is longer than {MAX_PATH_BYTES} bytes or deeper than {MAX_DEPTH} folders"
    if unicodedata.normalize("NFC", name) != name:
        return f"{name!r} is not in Unicode's composed form (NFC)"
    if name.casefold() in (MANIFEST, SIGNATURE):
        return f"{name!r} is the name of the bundle's own file"
    return next(filter(None, (_part_problem(name, part) for part in parts)), None)


def _part_problem(name: str, part: str) -> str | None:
    if part in ("", "."):
        return f"{name!r} has an empty part"
    if part == "..":
        return f"{name!r} has the part '..', which leads outside the folder"
    if part[-1] in ". " or part[0] == " ":
        return f"{name!r} has a part that ends in a dot or starts or ends with a space"
    if len(part.encode()) > MAX_PART_BYTES:
        return f"{name[:80]!r}... has a part of more than {MAX_PART_BYTES} bytes"
    return None


def paths_problem(names: Iterable[str]) -> str | None:
    """What is wrong with the names of a whole bundle: the first bad one, or two that would meet on some disk.

    >>> paths_problem(["weights/a", "Weights/b"])
    "'Weights' and 'weights' are one name on a disk that ignores case"
    >>> paths_problem(["a", "a/b"])
    "'a' is both a file and a folder"
    """
    ordered = sorted(names)
    if len(ordered) > MAX_FILES:
        return f"there are {len(ordered)} files, more than {MAX_FILES}"
    bad = next(filter(None, map(path_problem, ordered)), None)
    if bad:
        return bad
    folders = folders_of(ordered)
    clash = next((name for name in ordered if name in folders), None)
    if clash:
        return f"{clash!r} is both a file and a folder"
    seen: dict[str, str] = {}
    for name in sorted([*ordered, *folders]):
        folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
        if folded in seen:
            return f"{seen[folded]!r} and {name!r} are one name on a disk that ignores case"
        seen[folded] = name
    return None


def folders_of(names: Iterable[str]) -> set[str]:
    """Every folder that these files need.

    >>> sorted(folders_of(["a/b/c", "d"]))
    ['a', 'a/b']
    """
    return {name[:at] for name in names for at, letter in enumerate(name) if letter == "/"}
