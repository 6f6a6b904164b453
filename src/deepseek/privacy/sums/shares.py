"""Shamir's secret sharing (Shamir 1979) of 16-byte secrets, by pycryptodome: a polynomial over GF(2^128).

16 bytes are as hard to guess as X25519 is to break, and keys are derived from them (masks.py); each further block would
cost every party as much again, for the polynomials are computed in Python.
"""

from __future__ import annotations

from collections.abc import Mapping

from deepseek.errors import CheckError
from deepseek.extras import need

SECRET_BYTES = 16


def split_secret(secret: bytes, threshold: int, num: int) -> list[bytes]:
    """Shares 1..num of a secret of 16 bytes, any `threshold` of which give it back, and fewer nothing."""
    shamir = need("Crypto.Protocol.SecretSharing", extra="privacy").Shamir
    return [share for _, share in shamir.split(threshold, num, secret, ssss=False)]


def join_shares(shares: Mapping[int, bytes], threshold: int) -> bytes:
    """The secret of at least `threshold` shares by their numbers. CheckError for fewer, and for shares of another
    length."""
    shamir = need("Crypto.Protocol.SecretSharing", extra="privacy").Shamir
    if len(shares) < threshold or any(len(share) != SECRET_BYTES for share in shares.values()):
        raise CheckError(
            f"{len(shares)} shares of a mask came back",
            expected=f"at least {threshold}, of {SECRET_BYTES} bytes each",
            fix="repeat the round with the parties that are there",
        )
    secret: bytes = shamir.combine(sorted(shares.items())[:threshold], ssss=False)
    return secret
