"""Numbers as a person reads them: three significant digits, thousands with commas, the unit one thinks in.

>>> number(0.88412), number(12345.6), count(12345), duration(0.0021), size(1_234_567)
('0.884', '12,346', '12,345', '2.10 ms', '1.23 MB')
>>> figure(0.88412, 0.8707, 0.8964)
'0.884 [0.871, 0.896]'
"""

from __future__ import annotations

import math

ROUNDING_DECIMALS = 10  # what is as near to one as this is one that was added up
UNKNOWN = "–"  # what stands where a number is missing or not finite
MINUS = "−"
_EXPONENT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float | None) -> str:
    """Three significant digits; digits before the point are never rounded away.

    A value just below one does not become "1.00": a perfect score must be perfect.

    >>> number(0.99972), number(1), number(1 - 1e-13), number(0.0000123), number(-3.14159), number(float("nan"))
    ('0.9997', '1.00', '1.00', '1.23 × 10⁻⁵', '−3.14', '–')
    """
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if value == 0:
        return "0"
    if not 1e-4 <= abs(value) < 1e9:
        return _scientific(value)
    return fixed_decimals(value, _decimals(value))


def fixed_decimals(value: float, num_decimals: int) -> str:
    """`value` with exactly `num_decimals` decimals, thousands and a true minus sign.

    >>> fixed_decimals(-12345.678, 1)
    '−12,345.7'
    """
    text = f"{value:,.{num_decimals}f}"
    if not text.strip("-0.,"):
        text = text.lstrip("-")
    return text.replace("-", MINUS)


def signed_number(value: float | None) -> str:
    """A contribution: always with its sign.

    >>> signed_number(0.52), signed_number(-0.52), signed_number(0.0)
    ('+0.520', '−0.520', '0')
    """
    text = number(value)
    return f"+{text}" if value is not None and value > 0 else text


def count(value: float | None) -> str:
    """A number of things, in full: 12,345."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    return fixed_decimals(round(value), 0)


def figure(value: float | None, low: float | None = None, high: float | None = None, unit: str = "") -> str:
    """A measured value with its interval, all three with the same number of decimals, and its unit.

    >>> figure(0.5, 0.41, 0.6, "s"), figure(3.0), figure(1.0, 0.99994, 1.0)
    ('0.500 [0.410, 0.600] s', '3.00', '1.0000 [0.9999, 1.0000]')
    """
    tail = f" {unit}" if unit else ""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return number(value) + tail
    if not 1e-4 <= max(abs(value), abs(low), abs(high)) < 1e9:
        return f"{number(value)} [{number(low)}, {number(high)}]{tail}"
    decimals = _decimals(value) if value else max(_decimals(low), _decimals(high))
    for end in (low, high):  # an end just below one does not become "1.00" either
        if 0 < end < 1 and round(end, decimals) == 1:
            decimals = max(decimals, _decimals(end))
    return (
        f"{fixed_decimals(value, decimals)} [{fixed_decimals(low, decimals)}, {fixed_decimals(high, decimals)}]{tail}"
    )


def ratio(ours: float | None, rival: float | None) -> str:
    """Ours divided by the rival's.

    >>> ratio(0.9, 0.6), ratio(1.0, 0.0)
    ('1.50×', '–')
    """
    if ours is None or not rival or not (math.isfinite(ours) and math.isfinite(rival)):
        return UNKNOWN
    return f"{number(ours / rival)}×"


def share(part: float, whole: float) -> str:
    """A percentage, never without its base.

    >>> share(17, 569), share(0, 0)
    ('2.99 % of 569', 'none of 0')
    """
    if not whole:
        return f"none of {count(whole)}"
    return f"{number(100 * part / whole)} % of {count(whole)}"


def duration(seconds: float | None) -> str:
    """A time in the unit that a person thinks in.

    >>> duration(0.00031), duration(2.5), duration(80), duration(11_100), duration(200_000)
    ('310 µs', '2.50 s', '1 min 20 s', '3 h 5 min', '2 d 7 h')
    """
    if seconds is None or not math.isfinite(seconds):
        return UNKNOWN
    if seconds < 0:
        return MINUS + duration(-seconds)
    for below, factor, unit in ((1e-3, 1e6, "µs"), (1.0, 1e3, "ms"), (60.0, 1.0, "s")):
        if seconds < below and float(f"{seconds * factor:.3g}") < below * factor:
            return f"{number(seconds * factor)} {unit}"
    for below, big, small, names in ((3600, 60, 1, ("min", "s")), (86_400, 3600, 60, ("h", "min"))):
        if seconds < below:
            return f"{int(seconds // big)} {names[0]} {int(seconds % big // small)} {names[1]}"
    return f"{int(seconds // 86_400)} d {int(seconds % 86_400 // 3600)} h"


def size(num_bytes: float | None) -> str:
    """Bytes in decimal units, as disks are sold.

    >>> size(512), size(20_480)
    ('512 B', '20.5 kB')
    """
    if num_bytes is None or not math.isfinite(num_bytes):
        return UNKNOWN
    if num_bytes < 1000:
        return f"{count(num_bytes)} B"
    power = min(int(math.log10(num_bytes) // 3), 4)
    return f"{number(num_bytes / 1000**power)} {'kMGT'[power - 1]}B"


def format_value(value: object) -> str:
    """A raw value of any kind as a person reads it.

    >>> [format_value(value) for value in (3, 61.5, 1234.0, "red", None, True)]
    ['3', '61.5', '1,234', 'red', '–', 'True']
    """
    if value is None:
        return UNKNOWN
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return count(value) if isinstance(value, int) or (value.is_integer() and abs(value) < 1e9) else number(value)


def clip(text: str, num_characters: int = 40) -> str:
    """A name in a sentence, cut at the end when it is long.

    >>> clip("a" * 50, 5)
    'aaaa…'
    """
    return text if len(text) <= num_characters else text[: num_characters - 1] + "…"


def _decimals(value: float) -> int:
    """How many decimals show three significant digits of `value`, and more if it would else read as one."""
    if value == 0:
        return 0
    magnitude = abs(value)
    decimals = max(0, 2 - math.floor(math.log10(magnitude)))
    if magnitude >= 1:
        return max(0, 2 - math.floor(math.log10(round(magnitude, decimals))))  # 9.996 is 10.0, not 10.00
    if round(magnitude, ROUNDING_DECIMALS) >= 1:
        return 2
    while round(magnitude, decimals) >= 1:
        decimals += 1
    return decimals


def _scientific(value: float) -> str:
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa.replace('-', MINUS)} × 10{str(int(exponent)).translate(_EXPONENT)}"
