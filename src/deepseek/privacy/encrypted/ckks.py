"""CKKS (Cheon et al. 2017) by TenSEAL, which is Microsoft SEAL: columns of numbers as ciphertexts, and sums of them.

One ciphertext holds one column of up to num_slots rows, so that a linear model needs no rotation and no key of it: each
column times one plain number, added up. The scheme is symmetric: the secret key is with the asker, and what the server
gets besides the ciphertexts are the parameters. Whoever has the key reads everything that was encrypted by it.

sums.py adds numbers of several parties that share one key.

Parameters stand for 128 bits of security by the table of the Homomorphic Encryption Standard (2018, table 1); others
are refused. The default carries margins within +-LARGEST_MARGIN with an error of about 1e-3.
"""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from deepseek.bundle.fields import parse_json_object, parse_value
from deepseek.bundle.manifest import canonical_json
from deepseek.contracts import Float64
from deepseek.errors import CheckError, InputError
from deepseek.extras import need
from deepseek.files import read_bounded

#: Bits of the coefficient modulus up to which a ternary secret stands for 128 bits, by the degree of the polynomials.
MOST_BITS = {1024: 27, 2048: 54, 4096: 109, 8192: 218, 16384: 438, 32768: 881}
LARGEST_MARGIN = 500.0
SMALLEST_WEIGHT = 2.0**-20  # a smaller one moves no margin by more than its error
MAX_KEY_BYTES = 1 << 24


@dataclass(frozen=True, slots=True)
class CkksParameters:
    """What both sides must have alike."""

    poly_modulus_degree: int = 4096
    coeff_mod_bits: tuple[int, ...] = (40, 29, 40)
    scale_bits: int = 29
    purpose: Literal["products", "sums"] = "products"  # of ciphertexts by these: times a number, or only added

    @property
    def num_slots(self) -> int:
        """Rows that one ciphertext holds."""
        return self.poly_modulus_degree // 2

    @property
    def scale(self) -> float:
        """By which a number is multiplied before it is rounded."""
        return 2.0**self.scale_bits

    def check(self) -> None:
        """InputError for parameters of fewer than 128 bits, or that cannot carry one product where they should."""
        most, bits = MOST_BITS.get(self.poly_modulus_degree, 0), sum(self.coeff_mod_bits)
        if bits > most or not all(0 < each <= 60 for each in self.coeff_mod_bits):
            raise InputError(
                f"CKKS of degree {self.poly_modulus_degree} with {bits} bits is below 128 bits of security",
                expected=", ".join(f"at most {most} bits at {degree}" for degree, most in MOST_BITS.items()),
                fix="take a larger degree, or fewer bits",
            )
        carries_products = len(self.coeff_mod_bits) >= 3 and 20 <= self.scale_bits <= min(self.coeff_mod_bits[:-1])
        if self.purpose == "products" and not carries_products:
            raise InputError(
                "these CKKS parameters carry no product", expected="three primes, a scale of 20 bits or more",
                fix="take the default",
            )  # fmt: skip


@dataclass(frozen=True, slots=True)
class CipherContext:
    """What computes on ciphertexts, with the secret key or without."""

    parameters: CkksParameters
    key_id: str  # digest of the secret key; says whose ciphertexts these are, and nothing about the key
    _context: Any

    @classmethod
    def public(cls, parameters: CkksParameters, key_id: str) -> CipherContext:
        """A server's, from the parameters alone. InputError for parameters that are refused."""
        parameters.check()
        return cls(parameters, key_id, _without_secret(_new_context(parameters)))

    @classmethod
    def generate(cls, parameters: CkksParameters) -> CipherContext:
        """With a new secret key."""
        parameters.check()
        context = _new_context(parameters)
        return cls(parameters, _key_id(_serialize(context)), context)

    @classmethod
    def read(cls, path: Path) -> CipherContext:
        """With the secret key in a file. InputError for a file that is none."""
        data = read_bounded(path, MAX_KEY_BYTES, what="a secret key of CKKS", smaller="make a new one")
        try:
            top = parse_json_object(data, path.name)
            parameters: CkksParameters = parse_value(CkksParameters, top["parameters"], "parameters")
            parameters.check()
            raw = base64.b64decode(top["secret"], validate=True)
            context = need("tenseal", extra="privacy").context_from(raw, n_threads=1)
        except (KeyError, TypeError, ValueError, RuntimeError, CheckError) as error:
            raise InputError(
                f"{path} is no secret key of CKKS", expected="the file that predict --encrypted wrote",
                fix="name a new file: a key is made where there is none",
            ) from error  # fmt: skip
        return cls(parameters, _key_id(raw), context)

    def write(self, path: Path) -> None:
        """The secret key to a new file of mode 0600. FileExistsError where there is one."""
        secret = base64.b64encode(_serialize(self._context)).decode()
        data = canonical_json({"parameters": asdict(self.parameters), "secret": secret})
        part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        try:
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(data)
            path.hardlink_to(part)
        finally:
            part.unlink(missing_ok=True)

    def encrypt(self, column: Float64) -> bytes:
        """Up to num_slots numbers."""
        tenseal = need("tenseal", extra="privacy")
        return bytes(tenseal.ckks_vector(self._context, tenseal.plain_tensor(column)).serialize())

    def add(self, parts: Sequence[bytes], num_rows: int) -> bytes:
        """The ciphertext of a sum of ciphertexts of num_rows numbers each. CheckError as weighted_sum() raises it."""
        vectors = [self._load(part, num_rows) for part in parts]
        total = vectors[0]
        for vector in vectors[1:]:
            total.add_(vector)
        return bytes(total.serialize())

    def decrypt(self, data: bytes, num_rows: int) -> Float64:
        """The numbers (num_rows,) of a ciphertext. CheckError for one that is of other parameters or damaged."""
        numbers = np.array(self._load(data, num_rows).decrypt())
        if not np.isfinite(numbers).all():
            raise _damaged_error()
        return numbers

    def weighted_sum(self, columns: Sequence[bytes], weights: Float64, bias: float, num_rows: int) -> bytes:
        """The ciphertext of sum of weights[j] * columns[j] + bias, of rows that stay encrypted. CheckError for a
        ciphertext of other parameters, of another number of rows, or damaged."""
        vectors = [self._load(column, num_rows) for column in columns]
        # SEAL refuses a product that is zero for every row, for it would show that it is
        places = np.flatnonzero(np.abs(weights) > SMALLEST_WEIGHT).tolist() or [0]
        parts = [vectors[place] * max(float(weights[place]), SMALLEST_WEIGHT, key=abs) for place in places]
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        total = total + bias
        return bytes(total.serialize())

    def _load(self, data: bytes, num_rows: int) -> Any:
        try:
            vector = need("tenseal", extra="privacy").ckks_vector_from(self._context, data)
        except (ValueError, RuntimeError) as error:
            raise _damaged_error() from error
        if vector.size() != num_rows:
            raise _damaged_error()
        return vector


def _damaged_error() -> CheckError:
    return CheckError(
        "a ciphertext is cut, damaged or of other parameters",
        expected="ciphertexts of the parameters that the model states, one a column, of as many rows as are said",
        fix="encrypt the rows again by the parameters of the model",
    )


def _new_context(parameters: CkksParameters) -> Any:
    tenseal = need("tenseal", extra="privacy")
    context = tenseal.context(
        tenseal.SCHEME_TYPE.CKKS, parameters.poly_modulus_degree, coeff_mod_bit_sizes=list(parameters.coeff_mod_bits),
        encryption_type=tenseal.ENCRYPTION_TYPE.SYMMETRIC, n_threads=1,
    )  # fmt: skip
    context.global_scale = 2**parameters.scale_bits
    return context


def _serialize(context: Any, *, secret: bool = True) -> bytes:
    return bytes(
        context.serialize(save_public_key=False, save_secret_key=secret, save_galois_keys=False, save_relin_keys=False)
    )


def _without_secret(context: Any) -> Any:
    return need("tenseal", extra="privacy").context_from(_serialize(context, secret=False), n_threads=1)


def _key_id(secret: bytes) -> str:
    return hashlib.sha256(b"ckks key " + secret).hexdigest()
