"""C99 source text of values: numbers keep their bits, and no name can break out of its string literal.

>>> float_literal(0.1), float_literal(float("inf")), string_literal('a"b\\n*/')
('0x1.99999ap-4f', 'HUGE_VALF', '"a\\\\042b\\\\012\\\\052\\\\057"')
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.errors import InputError

SOURCE_FOLDER = Path(__file__).parent / "c"
MAX_LITERAL_CHARS = 4095  # every C99 compiler accepts so many in one string literal
_PLAIN_BYTES = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 _-+=.,")
_LINE_WIDTH_CHARS = 118
#: numpy's type of an element -> C's.
C_TYPES = {
    "float32": "float", "float64": "double", "int8": "int8_t", "uint8": "uint8_t", "int16": "int16_t",
    "uint16": "uint16_t", "int32": "int32_t",
}  # fmt: skip


def read_source(name: str) -> str:
    """Text of a C file in the folder c/."""
    return (SOURCE_FOLDER / name).read_text("utf-8")


def string_literal(value: str) -> str:
    """A C string literal of the UTF-8 bytes. Bytes other than letters, digits and harmless signs are three-digit octal
    escapes, so no quote, newline, comment or trigraph comes through. InputError for text that C cannot hold."""
    data = value.encode("utf-8", "surrogatepass")
    if len(data) > MAX_LITERAL_CHARS or 0 in data:
        raise InputError(
            f"the name {value[:60]!r} is longer than {MAX_LITERAL_CHARS} bytes, or holds a zero byte",
            expected="names that a C string can hold", fix="rename the column or level, or use --tier onnxruntime",
        )  # fmt: skip
    return '"' + "".join(chr(byte) if byte in _PLAIN_BYTES else f"\\{byte:03o}" for byte in data) + '"'


def float_literal(value: float) -> str:
    """A float32 as a hexadecimal C literal with the same bits."""
    return _hex_literal(float(np.float32(value)), "f", "HUGE_VALF")


def double_literal(value: float) -> str:
    """A float64 as a hexadecimal C literal with the same bits.

    >>> double_literal(-2.5), double_literal(float("nan"))
    ('-0x1.4p+1', 'NAN')
    """
    return _hex_literal(float(value), "", "HUGE_VAL")


def _hex_literal(value: float, ending: str, infinity: str) -> str:
    if math.isnan(value):
        return "NAN"
    if math.isinf(value):
        return infinity if value > 0 else f"-{infinity}"
    mantissa, exponent = value.hex().split("p")
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{mantissa}p{exponent}{ending}"


def array_definition(name: str, values: NDArray[Any]) -> str:
    """Definition of a constant flat array in the C type of the numbers' dtype; one zero where there are none."""
    kind = C_TYPES[values.dtype.name]
    show = {"float": float_literal, "double": double_literal}.get(kind, str)
    return (
        f"static const {kind} {name}[] = {{\n{_wrap_lines([show(x) for x in values.ravel().tolist()] or ['0'])}\n}};\n"
    )


def string_array(name: str, values: Sequence[str], *, public: bool = False) -> str:
    """Definition of an array of strings; `public`: with external linkage."""
    literals = ",\n".join(f"    {string_literal(value)}" for value in values) or "    0"
    return f"{'' if public else 'static '}const char *const {name}[] = {{\n{literals}\n}};\n"


def pointer_array(kind: str, name: str, targets: Sequence[str]) -> str:
    """Definition of an array of pointers to constant arrays."""
    return f"static const {kind} *const {name}[] = {{{', '.join(targets) or '0'}}};\n"


def struct_definition(kind: str, name: str, values: Iterable[object]) -> str:
    return f"static const struct {kind} {name} = {{{', '.join(map(str, values))}}};\n"


def _wrap_lines(words: Iterable[str]) -> str:
    lines, line = [], "   "
    for word in words:
        if len(line) + len(word) + 2 > _LINE_WIDTH_CHARS:
            lines.append(line)
            line = "   "
        line += f" {word},"
    return "\n".join([*lines, line])


def narrow_integers(values: NDArray[Any], *kinds: str) -> NDArray[Any]:
    """The integers in the first of the dtypes `kinds` that holds them all. InputError when none does."""
    for kind in kinds:
        info = np.iinfo(kind)
        if not values.size or (values.min() >= info.min and values.max() <= info.max):
            return values.astype(kind)
    raise InputError(
        "the model is too large for the C tier: a number of its tables does not fit",
        expected=f"tables with numbers of {kinds[-1]}", fix="use --tier onnxruntime",
    )  # fmt: skip
