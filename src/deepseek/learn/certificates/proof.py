"""Proofs of credentials: DataIntegrityProof with the cryptosuite eddsa-jcs-2022, and keys as did:key.

    signed = add_proof(document, Path("school-key"), created="2026-05-01T00:00:00Z")
    check_proof(signed)                     # the public key that has signed; IntegrityError when it does not fit

Sources: Data Integrity EdDSA Cryptosuites v1.0 (W3C, 2025), 3.3 eddsa-jcs-2022; RFC 8785 (JCS); did:key v0.7. Signing
itself is cryptography's Ed25519, by the keys of `deepseek keygen`.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepseek.bundle.sign import load_private_key, public_key_from_hex
from deepseek.errors import ExtraError, InputError, IntegrityError
from deepseek.extras import need

if TYPE_CHECKING:  # contracts brings numpy, which verify does without
    from deepseek.bundle.sign import PublicKey
    from deepseek.contracts import JsonObject

SUITE = "eddsa-jcs-2022"
_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_ED25519 = b"\xed\x01"  # multicodec of an Ed25519 public key
_KEY_BYTES, _SIGNATURE_BYTES = 32, 64
_LARGEST_WHOLE = 2**53
_PROOF_KEYS = {"type", "cryptosuite", "created", "verificationMethod", "proofPurpose", "proofValue"}


def add_proof(document: JsonObject, key: Path, *, created: str) -> JsonObject:
    """The document with a proof by the private key in the PEM file `key`."""
    private = load_private_key(key)
    config = {
        "type": "DataIntegrityProof", "cryptosuite": SUITE, "created": created,
        "verificationMethod": verification_method(private.public_key().public_bytes_raw()),
        "proofPurpose": "assertionMethod",
    }  # fmt: skip
    signature = private.sign(hash_data(document, config))
    return {**document, "proof": {**config, "proofValue": encode_base58(signature)}}


def check_proof(document: JsonObject) -> PublicKey:
    """The public key that has signed the document, as its proof names it. IntegrityError when the signature does not
    fit, or when there is none of this kind: says nothing of who owns the key."""
    proof = document.get("proof")
    if not isinstance(proof, dict) or not proof.keys() >= _PROOF_KEYS or proof.get("cryptosuite") != SUITE:
        raise _no_proof(f"it has no proof of the kind {SUITE}")
    if proof["type"] != "DataIntegrityProof" or proof["proofPurpose"] != "assertionMethod":
        raise _no_proof("its proof is for another purpose")
    unsecured = {name: value for name, value in document.items() if name != "proof"}
    config = {name: value for name, value in proof.items() if name != "proofValue"}
    public = key_of_method(str(proof["verificationMethod"]))
    signature = decode_base58(str(proof["proofValue"]), _SIGNATURE_BYTES)
    invalid_signature = need("cryptography.exceptions", extra="serve").InvalidSignature
    try:
        public.verify(signature, hash_data(unsecured, config))
    except invalid_signature as error:
        raise IntegrityError(
            "the signature does not fit the certificate: one of the two was changed",
            expected="both as the issuer wrote",
            fix="do not trust it; ask the holder or the issuer for the file as it was issued",
        ) from error  # fmt: skip
    return public


def hash_data(document: JsonObject, config: JsonObject) -> bytes:
    """What is signed: sha256 of the proof's options, then sha256 of the document, both in canonical form (3.3.4)."""
    if "@context" in document and "@context" not in config:
        config = {"@context": document["@context"], **config}
    return hashlib.sha256(canonical_bytes(config)).digest() + hashlib.sha256(canonical_bytes(document)).digest()


def canonical_bytes(value: Any) -> bytes:
    """RFC 8785 for what certificates hold: ASCII names, texts, whole numbers, booleans, lists and objects. Python's own
    writer agrees with the RFC there; IntegrityError for anything else.

    >>> canonical_bytes({"b": [1, True], "a": "风"}).decode()
    '{"a":"风","b":[1,true]}'
    """
    _check_plain(value)
    try:
        return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode("utf-8")
    except UnicodeEncodeError as error:
        raise _no_proof("it holds half a character") from error


def verification_method(public: bytes) -> str:
    """The did:key of a public key, and the key in it."""
    name = encode_base58(_ED25519 + public)
    return f"did:key:{name}#{name}"


def key_of_method(method: str) -> PublicKey:
    """The public key of a did:key. IntegrityError when it is no Ed25519 key of that kind, ExtraError where nothing that
    reads keys is installed."""
    head, _, name = method.partition("#")
    if head != f"did:key:{name}":
        raise _no_proof(f"its key is {method[:60]!r}, which is no did:key")
    data = decode_base58(name, len(_ED25519) + _KEY_BYTES)
    if data[:2] != _ED25519:
        raise _no_proof("its key is of another kind")
    try:
        return public_key_from_hex(data[2:].hex())
    except ExtraError:  # nothing is wrong with the certificate
        raise
    except (InputError, ValueError) as error:
        raise _no_proof("its key is none") from error


def encode_base58(data: bytes) -> str:
    """Multibase base58-btc.

    >>> encode_base58(b"\\x00a")
    'z12g'
    """
    number, text = int.from_bytes(data, "big"), ""
    while number:
        number, rest = divmod(number, 58)
        text = _ALPHABET[rest] + text
    return "z" + "1" * (len(data) - len(data.lstrip(b"\0"))) + text


def decode_base58(text: str, num_bytes: int) -> bytes:
    """The bytes of a multibase text of a known length. IntegrityError for another."""
    if not text.startswith("z") or not set(text[1:]) <= set(_ALPHABET) or len(text) > 2 * num_bytes + 1:
        raise _no_proof(f"{text[:20]!r} is no base58 text")
    number = 0
    for character in text[1:]:
        number = number * 58 + _ALPHABET.index(character)
    try:
        data = number.to_bytes(num_bytes, "big")
    except OverflowError as error:
        raise _no_proof(f"{text[:20]!r} has another length") from error
    if encode_base58(data) != text:
        raise _no_proof(f"{text[:20]!r} has another length")
    return data


def _check_plain(value: Any) -> None:
    if isinstance(value, dict):
        for name, item in value.items():
            if not isinstance(name, str) or not name.isascii():
                raise _no_proof(f"it has the name {name!r}")
            _check_plain(item)
    elif isinstance(value, list):
        for item in value:
            _check_plain(item)
    elif isinstance(value, int):
        if abs(value) >= _LARGEST_WHOLE:
            raise _no_proof(f"it has the number {value}")
    elif value is not None and not isinstance(value, str):
        raise _no_proof(f"it has the value {value!r}, which certificates do not hold")


def _no_proof(problem: str) -> IntegrityError:
    return IntegrityError(
        f"the certificate cannot be verified: {problem}", expected=f"a credential with a proof by {SUITE}",
        fix="ask the holder or the issuer for the file as it was issued",
    )  # fmt: skip
