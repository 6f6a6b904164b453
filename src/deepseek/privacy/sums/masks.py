"""Keys and masks: X25519 (RFC 7748) agrees a secret of each two parties, HKDF (RFC 5869) makes keys of it, ChaCha20
(RFC 8439) a mask of a key, ChaCha20-Poly1305 carries shares. All of `cryptography`.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

import numpy as np

from deepseek.errors import CheckError
from deepseek.extras import need
from deepseek.privacy.sums.field import Field

KEY_BYTES = 32
_PRIMITIVES = "cryptography.hazmat.primitives"


@dataclass(frozen=True, slots=True)
class KeyPair:
    """An X25519 key pair as raw bytes."""

    private: bytes
    public: bytes


def generate_key_pair() -> KeyPair:
    """A new key pair of the operating system's randomness."""
    private = _x25519().X25519PrivateKey.generate()
    return KeyPair(private.private_bytes_raw(), private.public_key().public_bytes_raw())


def pair_of_secret(secret: bytes) -> KeyPair:
    """The key pair that follows from a shared secret of 16 bytes."""
    private = derive_key(secret, "private key for masks")
    key = _x25519().X25519PrivateKey.from_private_bytes(private)
    return KeyPair(private, key.public_key().public_bytes_raw())


def derive_key(secret: bytes, purpose: str) -> bytes:
    """32 bytes of a secret that nobody can guess, bound to a purpose."""
    hashes, hkdf = need(f"{_PRIMITIVES}.hashes", extra="privacy"), need(f"{_PRIMITIVES}.kdf.hkdf", extra="privacy")
    key: bytes = hkdf.HKDF(hashes.SHA256(), KEY_BYTES, None, purpose.encode()).derive(secret)
    return key


def agree_key(private: bytes, peer_public: bytes, purpose: str) -> bytes:
    """32 bytes that both sides of an X25519 agreement get, bound to a purpose. CheckError for a public key that is of
    small order, by which a peer could force the result."""
    module = _x25519()
    try:
        shared = module.X25519PrivateKey.from_private_bytes(private).exchange(
            module.X25519PublicKey.from_public_bytes(peer_public)
        )
    except ValueError as error:
        raise CheckError(
            "a party's public key for the masks cannot be used",
            expected="an X25519 public key of 32 bytes",
            fix="leave that party out of the round",
        ) from error
    return derive_key(shared, purpose)


def mask_of(key: bytes, num: int) -> Field:
    """A pseudorandom mask (num,) of a 32-byte key that is used for this mask alone."""
    ciphers = need(f"{_PRIMITIVES}.ciphers", extra="privacy")
    stream = ciphers.Cipher(ciphers.algorithms.ChaCha20(key, bytes(16)), mode=None).encryptor()
    return np.frombuffer(stream.update(bytes(4 * num)), "<u4").astype(np.uint32, copy=False)


def seal(key: bytes, text: bytes, context: bytes) -> bytes:
    """Encrypted and authenticated, with the context in which alone it can be opened."""
    nonce = secrets.token_bytes(12)
    sealed: bytes = nonce + _aead()(key).encrypt(nonce, text, context)
    return sealed


def unseal(key: bytes, sealed: bytes, context: bytes) -> bytes:
    """The inverse of seal(). CheckError for what was cut or changed, or is of another key or context."""
    invalid = need("cryptography.exceptions", extra="privacy").InvalidTag
    try:
        text: bytes = _aead()(key).decrypt(sealed[:12], sealed[12:], context)
    except (invalid, ValueError) as error:
        raise CheckError(
            "an encrypted share was cut or changed",
            expected="the bytes that its party sent, in this round",
            fix="leave that party out of the round",
        ) from error
    return text


def _x25519() -> Any:
    return need(f"{_PRIMITIVES}.asymmetric.x25519", extra="privacy")


def _aead() -> Any:
    return need(f"{_PRIMITIVES}.ciphers.aead", extra="privacy").ChaCha20Poly1305
