"""A .pt2 archive of torch.export before torch sees it: its sizes, and that it holds no objects.

    check_pt2_file(Path("model.pt2"))

Tensors lie in it as bytes, or in pickles that torch reads as tensors alone (weights_only); an archive with any other
object in it would have to be unpickled, and is refused.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

from deepseek.errors import InputError, TooLargeError

MAX_MEMBERS, MAX_BYTES = 100_000, 8 << 30
MAX_EXPANSION, SMALL_BYTES = 20, 64 << 20
#: Files of an archive under these prefixes hold objects of classes, in a pickle or in TorchScript's.
OBJECT_PREFIXES = ("custom_obj", "opaque_obj")


def check_pt2_file(path: Path) -> None:
    """InputError (TooLargeError) for an archive that is not converted."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise InputError(
            f"{path} was cut or changed: {error}", expected="what torch.export.save wrote", fix="take an unharmed copy"
        ) from error
    size, packed = sum(member.file_size for member in members), path.stat().st_size
    if len(members) > MAX_MEMBERS or size > MAX_BYTES or size > max(SMALL_BYTES, MAX_EXPANSION * packed):
        raise TooLargeError(
            f"{path} would unpack {len(members):,} files of {size:,} bytes out of {packed:,}",
            expected=f"at most {MAX_BYTES:,} bytes, and {MAX_EXPANSION} times its own size", fix="do not use this file",
        )  # fmt: skip
    for member in members:
        if member.filename.rpartition("/")[2].startswith(OBJECT_PREFIXES):
            raise InputError(
                f"{path} holds an object in {member.filename[:100]!r}, which would have to be unpickled",
                expected="a program of tensors alone", fix="export the module without script objects",
            )  # fmt: skip
