"""Named arrays of a .npz file, never unpickled.

read_npz(Path("validation.npz"), "data")["x"]
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.errors import InputError, MissingError


def read_npz(path: Path, key: str) -> dict[str, NDArray[Any]]:
    """Array by name. MissingError without the file, InputError for one that numpy.savez has not written, or that holds
    objects; both begin with `key`, which says what the file was given as."""
    if not path.is_file():
        raise MissingError(
            f"{key}: there is no file {path}", expected="a .npz file", fix="check the name and the folder"
        )
    arrays = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                with archive.open(name) as file:
                    arrays[name.removesuffix(".npy")] = np.lib.format.read_array(file, allow_pickle=False)
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError) as error:
        raise InputError(
            f"{key}: {path} cannot be read: {error}",
            expected="a file that numpy.savez wrote, without objects",
            fix="write it anew",
        ) from error
    return arrays
