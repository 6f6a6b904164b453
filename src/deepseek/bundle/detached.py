"""Signatures beside single files, as reports: FILE.sig holds what bundle.sig holds, over the bytes of FILE as they are.

sign_file(Path("report.html"), Path("release-key"))                       # writes report.html.sig
file_verification("report.html", key="release-key.pub")["signature"]      "good"
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from deepseek.bundle.report import VerificationReport
from deepseek.bundle.sign import (
    MAX_SIGNATURE_BYTES,
    SignedNames,
    check_own_signature,
    check_signature,
    load_public_key,
    sign,
)
from deepseek.errors import IntegrityError
from deepseek.files import atomic_file, read_bounded

MAX_SIGNED_FILE_BYTES = 1 << 28


def signature_path(path: Path) -> Path:
    """The path of the signature of a file: FILE.sig."""
    return path.with_name(f"{path.name}.sig")


def sign_file(path: Path, key: Path) -> Path:
    """Write FILE.sig by the private key in the PEM file `key`. InputError when that is none."""
    out = signature_path(path)
    signature = sign(_read_content(path), key)
    with atomic_file(out) as part:
        part.write_bytes(signature)
    return out


def file_verification(path: Path | str, *, key: Path | str | None = None) -> VerificationReport:
    """As verification() of a bundle; the digest is the sha256 of the file. `key`: the public key that must have signed.

    A file without a signature is a problem: nothing else says what it should be.
    """
    path = Path(path)
    public = None if key is None else load_public_key(Path(key))
    content, signature_file = _read_content(path), signature_path(path)
    of = SignedNames(path.name, signature_file.name, "file")
    signature = None
    if signature_file.is_file():
        signature = read_bounded(
            signature_file, MAX_SIGNATURE_BYTES, what="a signature", smaller="take the one that was made with the file"
        )
    try:
        if public is not None:
            check_signature(content, signature, public, of)
        elif signature is not None:
            check_own_signature(content, signature, of)
        else:
            return VerificationReport((f"{signature_file.name} is missing: the file is not signed",))
    except IntegrityError as error:
        return VerificationReport((str(error),))
    return VerificationReport((), hashlib.sha256(content).hexdigest(), "not checked" if public is None else "good", 1)


def _read_content(path: Path) -> bytes:
    return read_bounded(path, MAX_SIGNED_FILE_BYTES, what="a file to sign", smaller="sign its sha256 instead")
