"""Ed25519 signatures (RFC 8032) over bundle.json, and with it over every file that it lists.

    private, public, _ = generate_keys(Path("release-key"))     # release-key (mode 0600) and release-key.pub, both PEM
    bundle_sig = sign(manifest_bytes, private)
    check_signature(manifest_bytes, bundle_sig, load_public_key(public))    # IntegrityError when it is not that key's

bundle.sig is canonical JSON: `algorithm`, `key` (the public key) and `signature`, both in hexadecimal. The signature
is over the bytes of bundle.json as they are, so that any Ed25519 tool can check it. The key in bundle.sig proves
nothing by itself: anyone can sign with a key of their own. Trust comes from the public key that the reader brings.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from deepseek.bundle.manifest import canonical_json, decode_object
from deepseek.bundle.paths import MANIFEST, SIGNATURE
from deepseek.errors import InputError, IntegrityError
from deepseek.extras import need

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

    PublicKey: TypeAlias = Ed25519PublicKey

MAX_KEY_BYTES = 2**16
MAX_SIGNATURE_BYTES = 4096
_ALGORITHM = "ed25519"
_NUM_HEX_DIGITS = {"key": 64, "signature": 128}
_CRYPTOGRAPHY = "cryptography.hazmat.primitives"


@dataclass(frozen=True, slots=True)
class SignedNames:
    """What errors call the file that is signed, its signature and what both are part of."""

    content: str  # the file whose bytes are signed
    signature: str  # the file that holds the signature
    whole: str  # what both are part of


BUNDLE_NAMES = SignedNames(MANIFEST, SIGNATURE, "bundle")


def generate_keys(out: Path) -> tuple[Path, Path, str]:
    """Write a new private key to `out` (mode 0600) and its public key to `out`.pub, each as a whole. Returns both paths
    and the public key in hexadecimal. InputError when one of the files exists: a key is never overwritten."""
    public_path = out.with_name(f"{out.name}.pub")
    private, forms = _ed25519().Ed25519PrivateKey.generate(), _serialization()
    pem, plain = forms.Encoding.PEM, forms.NoEncryption()
    public = private.public_key()
    with (
        _new_key_file(
            public_path, public.public_bytes(pem, forms.PublicFormat.SubjectPublicKeyInfo), 0o644
        ) as put_public,
        _new_key_file(out, private.private_bytes(pem, forms.PrivateFormat.PKCS8, plain), 0o600) as put_private,
    ):
        put_public()
        try:
            put_private()
        except InputError:
            public_path.unlink()
            raise
    return out, public_path, public.public_bytes_raw().hex()


def sign(manifest: bytes, key: Path) -> bytes:
    """The bytes of bundle.sig for the bytes of bundle.json, by the private key in the PEM file `key`."""
    private = load_private_key(key)
    signed = {
        "algorithm": _ALGORITHM,
        "key": private.public_key().public_bytes_raw().hex(),
        "signature": private.sign(manifest).hex(),
    }
    return canonical_json(signed)


def read_signature(data: bytes, of: SignedNames = BUNDLE_NAMES) -> dict[str, str]:
    """The fields of bundle.sig. IntegrityError unless it is as sign() writes it; no key is asked."""
    top = decode_object(data, of.signature)
    good = top.keys() == {"algorithm", *_NUM_HEX_DIGITS} and top["algorithm"] == _ALGORITHM
    good = good and all(_is_hex(top[name], num_digits) for name, num_digits in _NUM_HEX_DIGITS.items())
    if not good or data != canonical_json(top):
        raise IntegrityError(
            f"{of.signature} was cut or changed",
            expected="an Ed25519 signature as deepseek writes it",
            fix=f"do not use this {of.whole}; copy it again from where it was made",
        )
    return top


def check_signature(manifest: bytes, signature: bytes | None, key: PublicKey, of: SignedNames = BUNDLE_NAMES) -> None:
    """IntegrityError unless `key` signed these bytes of bundle.json."""
    expected_key = key.public_bytes_raw().hex()
    if signature is None:
        raise IntegrityError(
            f"{of.signature} is missing: the {of.whole} is not signed",
            expected=f"a signature by the key {expected_key[:16]}...",
            fix=f"get the signed {of.whole}, or leave the key out to use it unsigned",
        )
    fields = read_signature(signature, of)
    if fields["key"] != expected_key:
        raise IntegrityError(
            f"{of.signature} is by another key, {fields['key'][:16]}...",
            expected=f"a signature by the key {expected_key[:16]}...",
            fix=f"do not use this {of.whole}, or check which key its maker signs with",
        )
    _verify_signature(key, manifest, fields["signature"], of)


def check_own_signature(manifest: bytes, signature: bytes, of: SignedNames = BUNDLE_NAMES) -> None:
    """IntegrityError when the signature does not fit its own key: it was damaged. Says nothing about who signed."""
    fields = read_signature(signature, of)
    own = _ed25519().Ed25519PublicKey.from_public_bytes(bytes.fromhex(fields["key"]))
    _verify_signature(own, manifest, fields["signature"], of)


def _verify_signature(public: PublicKey, manifest: bytes, signature: str, of: SignedNames) -> None:
    invalid_signature = need("cryptography.exceptions", extra="serve").InvalidSignature
    try:
        public.verify(bytes.fromhex(signature), manifest)
    except invalid_signature as error:
        raise IntegrityError(
            f"{of.signature} does not fit {of.content}: one of the two was changed",
            expected="both as their maker wrote them",
            fix=f"do not use this {of.whole}",
        ) from error


def is_public_key_file(path: Path) -> bool:
    """Whether a file says of itself that it holds a public key, as keygen writes NAME.pub. False for one that is not
    there or cannot be read: whoever uses it says so."""
    try:
        with path.open("rb") as file:
            return b"-----BEGIN PUBLIC KEY-----" in file.read(MAX_KEY_BYTES)
    except OSError:
        return False


def public_key_from_hex(text: str) -> PublicKey:
    """The public key whose 64 hexadecimal digits these are. InputError when it is none."""
    if not _is_hex(text, _NUM_HEX_DIGITS["key"]):
        raise InputError(
            f"{text[:80]!r} is no public key", expected="64 hexadecimal digits", fix="take the key that keygen printed"
        )
    public: PublicKey = _ed25519().Ed25519PublicKey.from_public_bytes(bytes.fromhex(text))
    return public


def load_public_key(path: Path) -> PublicKey:
    """The public key in a PEM file. InputError when it is none."""
    key = _load_key(path, "public", _serialization().load_pem_public_key)
    if not isinstance(key, _ed25519().Ed25519PublicKey):
        raise InputError(
            f"{path} is a key of another kind",
            expected="an Ed25519 public key",
            fix="give the .pub file that deepseek keygen wrote",
        )
    public: PublicKey = key
    return public


def load_private_key(path: Path) -> Ed25519PrivateKey:
    """The private key in a PEM file without a password. InputError when it is none."""
    key = _load_key(path, "private", lambda data: _serialization().load_pem_private_key(data, password=None))
    if not isinstance(key, _ed25519().Ed25519PrivateKey):
        raise InputError(
            f"{path} is a key of another kind",
            expected="an Ed25519 private key",
            fix="make one with: deepseek keygen NAME",
        )
    private: Ed25519PrivateKey = key
    return private


def _load_key(path: Path, what: str, parse: Any) -> Any:
    """A key from a PEM file. cryptography says ValueError, or TypeError for an encrypted key."""
    unsupported = need("cryptography.exceptions", extra="serve").UnsupportedAlgorithm
    try:
        with Path(path).open("rb") as file:
            return parse(file.read(MAX_KEY_BYTES))
    except OSError as error:
        raise InputError(
            f"the {what} key {path} cannot be read: {error.strerror}",
            expected="a PEM file",
            fix="check its name and its rights",
        ) from error
    except (ValueError, TypeError, unsupported) as error:
        raise InputError(
            f"{path} is not a {what} key",
            expected=f"an unencrypted Ed25519 {what} key in a PEM file",
            fix="deepseek keygen NAME writes the private key NAME and the public key NAME.pub",
        ) from error


@contextmanager
def _new_key_file(path: Path, data: bytes, mode: int) -> Iterator[Callable[[], None]]:
    """`data` in a file beside `path` that had its mode before it had a byte, and what puts it in place, which refuses
    when something is there. Nothing is left beside `path` afterwards."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with _input_errors(path):
            if os.path.lexists(path):
                raise FileExistsError
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        yield lambda: _link_into_place(part, path)
    finally:
        part.unlink(missing_ok=True)


def _link_into_place(part: Path, path: Path) -> None:
    """Give the file `part` the name `path` in one step, unless it is taken."""
    with _input_errors(path):
        try:
            path.hardlink_to(part)
        except FileExistsError:
            raise
        except OSError:  # a disk without hard links
            if os.path.lexists(path):
                raise
            part.rename(path)


@contextmanager
def _input_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError as error:
        raise InputError(
            f"{path} exists; a key is never overwritten", expected="a new name", fix="choose another name"
        ) from error
    except OSError as error:
        raise InputError(
            f"{path} cannot be written: {error.strerror}",
            expected="a folder in which files may be made",
            fix="choose another place",
        ) from error


def _is_hex(text: object, num_digits: int) -> bool:
    return isinstance(text, str) and len(text) == num_digits and set(text) <= set("0123456789abcdef")


def _ed25519() -> Any:
    return need(f"{_CRYPTOGRAPHY}.asymmetric.ed25519", extra="serve")


def _serialization() -> Any:
    return need(f"{_CRYPTOGRAPHY}.serialization", extra="serve")
