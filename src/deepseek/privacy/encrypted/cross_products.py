"""Sums of products of two houses' columns, of which neither house sees a row (CKKS by TenSEAL).

    mine, theirs = ProductKey.generate(), PublicProductKey.read(...)     # each house has a secret key
    layout = ProductLayout(num_rows, num_columns)                        # of the house that multiplies
    encrypted = mine.encrypt(vector, layout)                             # (N,), sent to the other house
    products = multiply(theirs, encrypted, columns, layout)              # there: (N, D) columns times the vector
    sums = mine.decrypt_sums(products.ciphertexts, layout)               # (D,), each hidden by a mask; sent back
    products.unmask(sums)                                                # columns.T @ vector, in that house alone

The multiplying house adds rows that share a slot, a new encryption of zero by the other's public key, and a mask that
it draws from the system's randomness and that is 2^MASK_BITS times as large as what it hides. Who has the secret key
knows the noise of what it encrypted, and reads a column out of a product's noise unless that is hidden, too. So the
mask covers what decrypts in full: it is complex, for real numbers fill half of a ciphertext's polynomial and noise all
of it; and it has NUM_LAYERS parts, each 2^LAYER_BITS smaller, for one of doubles would be zero in its low digits, where
noise is. It is made for houses that keep to the protocol and are curious.

Slots that the rows leave free hold the vector again, so that one product serves several columns.
"""

from __future__ import annotations

import base64
import math
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float64
from deepseek.errors import CheckError, InputError
from deepseek.extras import need
from deepseek.privacy.encrypted.ckks import CkksParameters

#: Two primes carry scale^2 * mask, 56 + 44 bits; 180 bits at degree 8192 are within 128 bits' table (at most 218).
PARAMETERS = CkksParameters(8192, (60, 60, 60), scale_bits=28)
LARGEST_FACTOR = 8.0  # of an entry of a column and of the vector
MASK_BITS = 38
#: A double has 53 bits: each part covers what the one before leaves open, down to the last bit of a coefficient.
NUM_LAYERS, LAYER_BITS = 5, 14


@dataclass(frozen=True, slots=True)
class ProductLayout:
    """Where rows and columns lie in slots: both houses compute it from what they know of each other."""

    num_rows: int
    num_columns: int  # of the house that multiplies

    @property
    def columns_per_ciphertext(self) -> int:
        """A power of two that makes the fewest ciphertexts in both directions.

        >>> ProductLayout(500, 30).columns_per_ciphertext, ProductLayout(100_000, 30).columns_per_ciphertext
        (16, 1)
        """
        slots = PARAMETERS.num_slots
        choices = [1 << power for power in range(slots.bit_length()) if 1 << power <= 2 * self.num_columns]
        return min(choices, key=lambda each: -(-self.num_rows // (slots // each)) + -(-self.num_columns // each))

    @property
    def rows_per_block(self) -> int:
        return PARAMETERS.num_slots // self.columns_per_ciphertext

    @property
    def num_blocks(self) -> int:
        """Ciphertexts of the vector; as many rows share a slot."""
        return -(-self.num_rows // self.rows_per_block)

    @property
    def num_products(self) -> int:
        """Ciphertexts that go back."""
        return -(-self.num_columns // self.columns_per_ciphertext)

    @property
    def mask_bound(self) -> float:
        """The largest mask of a slot."""
        return float(self.num_blocks * LARGEST_FACTOR**2 * 2**MASK_BITS)

    def blocks(self, vector: Float64) -> Float64:
        """A vector (N,) as (num_blocks, rows_per_block), zeros after its end."""
        padded = np.zeros(self.num_blocks * self.rows_per_block)
        padded[: self.num_rows] = vector
        return padded.reshape(self.num_blocks, self.rows_per_block)


class ProductKey:
    """A house's secret key, and what it decrypts: sums under masks."""

    def __init__(self, context: Any) -> None:
        self._context = context

    @classmethod
    def generate(cls) -> ProductKey:
        PARAMETERS.check()
        tenseal = need("tenseal", extra="privacy")
        context = tenseal.context(
            tenseal.SCHEME_TYPE.CKKS, PARAMETERS.poly_modulus_degree,
            coeff_mod_bit_sizes=list(PARAMETERS.coeff_mod_bits), encryption_type=tenseal.ENCRYPTION_TYPE.ASYMMETRIC,
            n_threads=1,
        )  # fmt: skip
        context.global_scale = PARAMETERS.scale
        return cls(_without_rescaling(context))

    @classmethod
    def from_text(cls, text: str) -> ProductKey:
        """The inverse of to_text(), of a house's own file."""
        tenseal = need("tenseal", extra="privacy")
        return cls(_without_rescaling(tenseal.context_from(base64.b64decode(text), n_threads=1)))

    def to_text(self) -> str:
        return base64.b64encode(_serialize(self._context, secret=True)).decode()

    def public_bytes(self) -> bytes:
        """What the other house needs."""
        return _serialize(self._context, secret=False)

    def encrypt(self, vector: Float64, layout: ProductLayout) -> tuple[bytes, ...]:
        """A vector (N,), repeated for each column that a ciphertext serves. InputError for entries beyond
        LARGEST_FACTOR, or that are not finite."""
        _check_factor(vector, "a row's share of the error")
        tenseal = need("tenseal", extra="privacy")
        return tuple(
            bytes(tenseal.ckks_vector(self._context, tenseal.plain_tensor(slots)).serialize())
            for slots in np.tile(layout.blocks(vector), (1, layout.columns_per_ciphertext))
        )

    def decrypt_sums(self, products: Sequence[bytes], layout: ProductLayout) -> Float64:
        """Of each column the sum of its slots (D,), which is the mask's as much as the products'. CheckError for
        ciphertexts that are damaged, of other parameters or of another number."""
        _check_number(products, layout.num_products)
        slots = np.stack([_decrypt_product(self._context, data) for data in products])
        columns = slots.reshape(-1, layout.rows_per_block)[: layout.num_columns]
        return np.array([math.fsum(column) for column in columns.tolist()])


@dataclass(frozen=True, slots=True)
class PublicProductKey:
    """The other house's public key."""

    context: Any

    @classmethod
    def read(cls, data: bytes) -> PublicProductKey:
        """CheckError for bytes that are none, or of other parameters."""
        try:
            context = need("tenseal", extra="privacy").context_from(data, n_threads=1)
            is_fit = context.is_public() and context.has_public_key() and context.global_scale == PARAMETERS.scale
            # What is encrypted by it has the length that these parameters give, or it is of others.
            probe = _encrypt_slots(context, np.ones(PARAMETERS.num_slots), PARAMETERS.scale) if is_fit else b""
        except (ValueError, RuntimeError, TypeError) as error:
            raise _damaged_error() from error
        if not _LEAST_CIPHERTEXT_BYTES < len(probe) < 2 * _LEAST_CIPHERTEXT_BYTES:
            raise _damaged_error()
        return cls(_without_rescaling(context))


@dataclass(frozen=True, slots=True)
class MaskedProducts:
    """Products of a house's columns with the other's vector, as they are sent, and the sums of their masks."""

    ciphertexts: tuple[bytes, ...]
    mask_sums: Float64  # (D,), which stay

    def unmask(self, sums: Float64) -> Float64:
        """columns.T @ vector (D,) of what the other house decrypted."""
        return unmask_sums(sums, self.mask_sums)


def unmask_sums(sums: Float64, mask_sums: Float64) -> Float64:
    """Sums (D,) without their masks. CheckError for numbers that are no such sums."""
    if sums.shape != mask_sums.shape or not np.isfinite(sums).all():
        raise CheckError(
            "the other house sent sums of another number, or that are not finite",
            expected=f"{len(mask_sums)} finite numbers", fix="check that both hold the same study",
        )  # fmt: skip
    return np.asarray(sums - mask_sums, np.float64)


def multiply(
    key: PublicProductKey, encrypted: Sequence[bytes], columns: Float64, layout: ProductLayout
) -> MaskedProducts:
    """Columns (N, D) times an encrypted vector, with the rows that share a slot added up and every slot under a mask.
    CheckError for ciphertexts that are damaged, of other parameters or of another number; InputError for entries of
    columns beyond LARGEST_FACTOR."""
    _check_number(encrypted, layout.num_blocks)
    _check_factor(columns, "an input")
    vectors = [_load(key.context, data) for data in encrypted]
    per, mask_sums, ciphertexts = layout.columns_per_ciphertext, [], []
    for start in range(0, layout.num_columns, per):
        group = [layout.blocks(column) for column in columns[:, start : start + per].T]
        factors = np.zeros((layout.num_blocks, per, layout.rows_per_block))
        factors[:, : len(group)] = np.stack(group, axis=1)
        zero = _encrypt_slots(key.context, np.zeros(PARAMETERS.num_slots), PARAMETERS.scale**2)
        total = _load(key.context, zero)
        for vector, slots in zip(vectors, factors.reshape(layout.num_blocks, -1), strict=True):
            if np.any(slots):  # SEAL refuses a product that is zero everywhere
                total.add_(vector * slots.tolist())
        layers = _draw_layers(layout.mask_bound)
        rows = np.stack([layer.real.reshape(per, -1) for layer in layers], axis=1).reshape(per, -1)
        mask_sums += [math.fsum(row) for row in rows.tolist()][: len(group)]
        ciphertexts.append(_add_layers(key.context, total, layers))
    return MaskedProducts(tuple(ciphertexts), np.array(mask_sums))


#: A ciphertext of two polynomials of degree 8192 with two primes of 60 bits, less what compression may save.
_LEAST_CIPHERTEXT_BYTES = 200_000


def _draw_layers(bound: float) -> tuple[NDArray[np.complex128], ...]:
    """Parts of a mask of all slots, real and imaginary parts even over ±bound, then over 2^-LAYER_BITS of it, and so
    on; of the system's randomness, 53 bits each."""
    layers = []
    for number in range(NUM_LAYERS):
        drawn = np.frombuffer(os.urandom(16 * PARAMETERS.num_slots), np.uint64) >> np.uint64(11)
        even = (drawn.astype(np.float64) * 2.0**-52 - 1) * (bound * 2.0 ** (-LAYER_BITS * number))
        layers.append(even[::2] + 1j * even[1::2])
    return tuple(layers)


def _add_layers(context: Any, total: Any, layers: Sequence[NDArray[np.complex128]]) -> bytes:
    """A sum of products with its mask, as SEAL writes it. TenSEAL's vectors are real, so that SEAL's own encoder makes
    the mask."""
    seal = need("tenseal.sealapi", extra="privacy")
    parameters, ciphertext = context.seal_context().data, total.ciphertext()[0]
    encoder, evaluator = seal.CKKSEncoder(parameters), seal.Evaluator(parameters)
    for layer in layers:
        plain = seal.Plaintext()
        encoder.encode(layer.tolist(), ciphertext.scale, plain)
        evaluator.add_plain_inplace(ciphertext, plain)
    with tempfile.NamedTemporaryFile(prefix="deepseek-product-") as file:  # its bindings know files alone
        ciphertext.save(file.name)
        return Path(file.name).read_bytes()


def load_ciphertext(parameters: Any, data: bytes) -> Any:
    """What _add_layers() wrote. RuntimeError or ValueError of SEAL for other bytes."""
    ciphertext = need("tenseal.sealapi", extra="privacy").Ciphertext()
    with tempfile.NamedTemporaryFile(prefix="deepseek-product-") as file:
        file.write(data)
        file.flush()
        ciphertext.load(parameters, file.name)
    return ciphertext


def _decrypt_product(context: Any, data: bytes) -> Float64:
    """The real parts (num_slots,) of what _add_layers() gave."""
    seal = need("tenseal.sealapi", extra="privacy")
    parameters, plain = context.seal_context().data, seal.Plaintext()
    try:
        ciphertext = load_ciphertext(parameters, data)
        seal.Decryptor(parameters, context.secret_key().data).decrypt(ciphertext, plain)
        numbers = np.array(seal.CKKSEncoder(parameters).decode_complex(plain)).real
    except (ValueError, RuntimeError) as error:
        raise _damaged_error() from error
    if numbers.shape != (PARAMETERS.num_slots,) or not np.isfinite(numbers).all():
        raise _damaged_error()
    return numbers


def _encrypt_slots(context: Any, slots: Float64, scale: float) -> bytes:
    tenseal = need("tenseal", extra="privacy")
    return bytes(tenseal.ckks_vector(context, tenseal.plain_tensor(slots), scale).serialize())


def _load(context: Any, data: bytes) -> Any:
    try:
        vector = need("tenseal", extra="privacy").ckks_vector_from(context, data)
    except (ValueError, RuntimeError) as error:
        raise _damaged_error() from error
    if vector.size() != PARAMETERS.num_slots:
        raise _damaged_error()
    return vector


def _serialize(context: Any, *, secret: bool) -> bytes:
    return bytes(
        context.serialize(save_public_key=True, save_secret_key=secret, save_galois_keys=False, save_relin_keys=False)
    )


def _without_rescaling(context: Any) -> Any:
    context.auto_rescale = context.auto_mod_switch = context.auto_relin = False
    return context


def _check_factor(numbers: Float64, what: str) -> None:
    if not np.isfinite(numbers).all() or np.abs(numbers).max(initial=0.0) > LARGEST_FACTOR:
        raise InputError(
            f"{what} is beyond {LARGEST_FACTOR:g}, or not finite", expected=f"numbers within {LARGEST_FACTOR:g}",
            fix="look for rows with extreme values, above all in the target",
        )  # fmt: skip


def _check_number(parts: Sequence[bytes], expected: int) -> None:
    if len(parts) != expected:
        raise CheckError(
            f"the other house sent {len(parts)} ciphertexts", expected=f"{expected}, by the rows and columns of both",
            fix="check that both hold the same study",
        )  # fmt: skip


def _damaged_error() -> CheckError:
    return CheckError(
        "a ciphertext or a public key is cut, damaged or of other parameters",
        expected="what the other house's version of this project makes", fix="let both houses run the same version",
    )  # fmt: skip
