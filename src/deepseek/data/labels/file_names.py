"""Which picture of a folder a label speaks of."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from deepseek.errors import InputError


class FileNames:
    """Finds the picture that a label speaks of: by its path, its name, or its name without the ending."""

    def __init__(self, files: Iterable[str]) -> None:
        self._by_key: dict[str, set[str]] = {}
        for file in files:
            path = Path(file)
            for key in {file, path.name, path.stem, path.with_suffix("").as_posix()}:
                self._by_key.setdefault(key, set()).add(file)

    def find(self, name: str, where: str) -> str:
        key = name.strip().replace("\\", "/").removeprefix("./")
        matches = self._by_key.get(key) or self._by_key.get(Path(key).name) or set()
        if len(matches) != 1:
            what = "is not in the folder of pictures" if not matches else f"may be {' or '.join(sorted(matches)[:2])}"
            raise InputError(
                f"{where}: the picture {name!r} {what}",
                expected="the name of one picture of the folder",
                fix="correct the labels, or give the folder that they belong to",
            )
        return next(iter(matches))
