"""What stands beside a number in a cell: a currency, a unit, a word that multiplies.

    CURRENCY, UNIT                       # patterns of what may stand before and behind a number
    split_scale("万元")                   # (10000.0, "元"): a factor, and what it is a factor of
    relative_units("kg", ["g", "kg"])    # {"g": 0.001, "kg": 1.0}: units of one dimension, as factors of the first

Codes of currencies: ISO 4217. Symbols: Unicode's category Sc. Units of a dimension: the prefixes of the SI and of IEC
80000-13, as people write them; kB and KB are 1,000 bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_CODES = (
    "AED", "AFN", "ALL", "AMD", "ANG", "AOA", "ARS", "AUD", "AWG", "AZN", "BAM", "BBD", "BDT", "BGN", "BHD", "BIF",
    "BMD", "BND", "BOB", "BRL", "BSD", "BTN", "BWP", "BYN", "BZD", "CAD", "CDF", "CHF", "CLP", "CNH", "CNY", "COP",
    "CRC", "CUP", "CVE", "CZK", "DJF", "DKK", "DOP", "DZD", "EGP", "ERN", "ETB", "EUR", "FJD", "FKP", "GBP", "GEL",
    "GHS", "GIP", "GMD", "GNF", "GTQ", "GYD", "HKD", "HNL", "HRK", "HTG", "HUF", "IDR", "ILS", "INR", "IQD", "IRR",
    "ISK", "JMD", "JOD", "JPY", "KES", "KGS", "KHR", "KMF", "KRW", "KWD", "KYD", "KZT", "LAK", "LBP", "LKR", "LRD",
    "LSL", "LYD", "MAD", "MDL", "MGA", "MKD", "MMK", "MNT", "MOP", "MRU", "MUR", "MVR", "MWK", "MXN", "MYR", "MZN",
    "NAD", "NGN", "NIO", "NOK", "NPR", "NZD", "OMR", "PAB", "PEN", "PGK", "PHP", "PKR", "PLN", "PYG", "QAR", "RMB",
    "RON", "RSD", "RUB", "RWF", "SAR", "SBD", "SCR", "SDG", "SEK", "SGD", "SHP", "SLE", "SOS", "SRD", "SSP", "STN",
    "SVC", "SYP", "SZL", "THB", "TJS", "TMT", "TND", "TOP", "TRY", "TTD", "TWD", "TZS", "UAH", "UGX", "USD", "UYU",
    "UZS", "VES", "VND", "VUV", "WST", "XAF", "XCD", "XOF", "XPF", "YER", "ZAR", "ZMW", "BTC", "ETH", "USDT",
)  # fmt: skip
#: For the inside of brackets; Unicode 16. To ask unicodedata of every letter would take .16 s at each start.
_SYMBOLS = (
    r"$\xa2-\xa5\u058f\u060b\u07fe\u07ff\u09f2\u09f3\u09fb\u0af1\u0bf9\u0e3f\u17db\u20a0-\u20c0\ua838\ufdfc\ufe69\uff04\uffe0"
    r"\uffe1\uffe5\uffe6\U00011fdd-\U00011fe0\U0001e2ff\U0001ecb0"
)
_LOCAL_CURRENCIES = (
    "kr.",
    "kr",
    "Kč",
    "zł",
    "Ft",
    "TL",
    "Rs.",
    "Rs",
    "Rp",
    "RM",
    "S/",
    "Fr.",
    "Bs.",
    "руб.",
    "руб",
    "лв",
)
CURRENCY = (
    rf"R(?= [0-9])|(?:[A-Z]{{1,3}})?[{_SYMBOLS}]|(?:{'|'.join(_CODES)})(?![A-Za-z])|"
    rf"{'|'.join(map(re.escape, _LOCAL_CURRENCIES))}"
)

_WORD = r"[^\W\d_]{1,14}\.?"
_POWER = r"(?:[²³]|\^?-?[1-4](?![0-9]))?"
_PLAIN_UNIT = rf"°[CFKRN]?|(?:{_WORD}){_POWER}(?:[ ·*]{_WORD}{_POWER}){{0,2}}"
UNIT = (
    rf"[%‰‱\"″'′+](?![%‰‱\"″'′+])|[%‰] ?{_WORD}|(?:{CURRENCY})(?:/{_WORD})?|/ ?{_WORD}{_POWER}|"
    rf"(?:{_PLAIN_UNIT})(?: ?/ ?(?:[0-9]{{1,4}}(?:\.[0-9]{{1,3}})? ?)?{_WORD}{_POWER}){{0,2}}"
)
#: Latin letters that may stand alone right behind the digits: others there are parts of names, as in seat 16A.
_GLUED_LETTERS = frozenset("gmshdtlLVWKMBkCFNJy")
_ORDINALS = frozenset(["st", "nd", "rd", "th"])
_NAME = re.compile(r"[A-Z][a-z]+\.?(?: [A-Z][a-z]*\.?)+")  # Main St

#: Words and letters that multiply the number before them.
SCALES = {
    "k": 1e3, "K": 1e3, "M": 1e6, "mn": 1e6, "B": 1e9, "bn": 1e9, "万": 1e4, "亿": 1e8, "mln": 1e6, "mio": 1e6,
    "Mio": 1e6, "Mio.": 1e6, "mm": 1e6, "MM": 1e6, "m": 1e6, "b": 1e9, "T": 1e12, "tn": 1e12, "Mn": 1e6, "Bn": 1e9,
    "mrd": 1e9, "Mrd": 1e9, "Mrd.": 1e9, "mld": 1e9, "mlrd": 1e9, "Tsd.": 1e3, "Tsd": 1e3, "tys.": 1e3,
    "thousand": 1e3, "million": 1e6, "millions": 1e6, "billion": 1e9, "billions": 1e9, "trillion": 1e12, "lakh": 1e5,
    "lakhs": 1e5, "crore": 1e7, "crores": 1e7, "万亿": 1e12, "百万": 1e6, "千万": 1e7, "萬": 1e4, "億": 1e8,
    "만": 1e4, "억": 1e8, "тыс.": 1e3, "млн": 1e6, "млрд": 1e9, "mil": 1e3, "millones": 1e6, "milhões": 1e6,
    "Millionen": 1e6, "Milliarden": 1e9,
}  # fmt: skip
#: Of SCALES, those that are units as well: they multiply only beside others, or behind a currency.
DOUBTFUL_SCALES = frozenset(["m", "mm", "MM", "b", "T", "mil"])
_LONG_SCALES = sorted((scale for scale in SCALES if len(scale) > 1 or not scale.isascii()), key=len, reverse=True)

_DIMENSIONS: tuple[dict[str, float], ...] = (
    {
        "µg": 1e-6, "ug": 1e-6, "mcg": 1e-6, "mg": 1e-3, "g": 1.0, "gr": 1.0, "kg": 1e3, "t": 1e6, "克": 1.0,
        "千克": 1e3, "公斤": 1e3, "斤": 500.0, "吨": 1e6,
    },
    {
        "nm": 1e-9, "µm": 1e-6, "um": 1e-6, "mm": 1e-3, "cm": 1e-2, "dm": 0.1, "m": 1.0, "km": 1e3, "毫米": 1e-3,
        "厘米": 1e-2, "米": 1.0, "千米": 1e3, "公里": 1e3,
    },
    {"B": 1.0, "bytes": 1.0, "KB": 1e3, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "PB": 1e15},
    {"KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30, "TiB": 2.0**40},
    {"bit/s": 1.0, "kbit/s": 1e3, "Mbit/s": 1e6, "Gbit/s": 1e9},
    {"bps": 1.0, "Kbps": 1e3, "kbps": 1e3, "Mbps": 1e6, "Gbps": 1e9},
    {"mW": 1e-3, "W": 1.0, "kW": 1e3, "MW": 1e6, "GW": 1e9},
    {"Wh": 1.0, "kWh": 1e3, "MWh": 1e6, "GWh": 1e9, "度": 1e3},
    {"Hz": 1.0, "kHz": 1e3, "MHz": 1e6, "GHz": 1e9},
    {"mV": 1e-3, "V": 1.0, "kV": 1e3},
    {"mA": 1e-3, "A": 1.0},
    {"Pa": 1.0, "hPa": 1e2, "kPa": 1e3, "MPa": 1e6, "mbar": 1e2, "bar": 1e5},
    {
        "µl": 1e-6, "ul": 1e-6, "ml": 1e-3, "mL": 1e-3, "cl": 1e-2, "dl": 0.1, "dL": 0.1, "l": 1.0, "L": 1.0,
        "升": 1.0, "毫升": 1e-3,
    },
    {
        "ns": 1e-9, "µs": 1e-6, "us": 1e-6, "ms": 1e-3, "s": 1.0, "sec": 1.0, "second": 1.0, "min": 60.0,
        "minute": 60.0, "h": 3600.0, "hr": 3600.0, "hour": 3600.0, "d": 86_400.0, "day": 86_400.0, "week": 604_800.0,
        "wk": 604_800.0, "秒": 1.0, "分钟": 60.0, "小时": 3600.0, "天": 86_400.0,
    },
    {"month": 1.0, "mo": 1.0, "year": 12.0, "yr": 12.0, "y": 12.0, "个月": 1.0, "年": 12.0},
    {"CR": 1.0, "DR": -1.0},
    {"Cr": 1.0, "Dr": -1.0},
    {"Cr.": 1.0, "Dr.": -1.0},
)  # fmt: skip


def split_scale(unit: str) -> tuple[float, str]:
    """The factor that a unit begins with, 1 where it has none, and the unit without it.

    >>> split_scale("亿元"), split_scale("million USD"), split_scale("kg"), split_scale("k")
    ((100000000.0, '元'), (1000000.0, 'USD'), (1.0, 'kg'), (1000.0, ''))
    """
    if unit in SCALES:
        return SCALES[unit], ""
    for scale in _LONG_SCALES:
        rest = unit[len(scale) :]
        if unit.startswith(scale) and (rest[:1] == " " or not scale.isascii() or is_currency(rest)):
            return SCALES[scale], rest.strip()
    if unit[:1] in "kKMB" and (unit[1:2] == " " or is_currency(unit[1:])):
        return SCALES[unit[0]], unit[1:].strip()
    return 1.0, unit


def may_be_unit(unit: str, *, is_glued: bool) -> bool:
    """Whether letters behind a number can be a unit; `is_glued`: no blank stands between.

    >>> may_be_unit("A", is_glued=True), may_be_unit("Main St", is_glued=False), may_be_unit("kg", is_glued=True)
    (False, False, True)
    """
    if is_glued and ((len(unit) == 1 and unit.isascii() and unit.isalpha()) or unit in _ORDINALS):
        return unit in _GLUED_LETTERS
    return _NAME.fullmatch(unit) is None


def is_currency(text: str) -> bool:
    return re.fullmatch(CURRENCY, text) is not None


def relative_units(usual: str, units: Iterable[str]) -> dict[str, float]:
    """Of `units`, those that measure what `usual` does, each as a factor of it: other spellings, and others of its
    dimension."""
    plain = _plain(usual)
    dimension: Mapping[str, float] = next((each for each in _DIMENSIONS if plain in each), {})
    factors = {}
    for unit in units:
        if _is_spelling(unit, usual):
            factors[unit] = 1.0
        elif _plain(unit) in dimension:
            factors[unit] = dimension[_plain(unit)] / dimension[plain]
    return factors


def is_known_unit(unit: str) -> bool:
    """Whether a unit is one of a dimension, a currency or a share, and no word that a name ends with."""
    return unit[:1] in {"%", "‰", "°"} or is_currency(unit) or any(_plain(unit) in each for each in _DIMENSIONS)


def _plain(unit: str) -> str:
    """A unit without a point behind it and the s of several, where it is a word.

    >>> _plain("hrs."), _plain("days"), _plain("ms")
    ('hr', 'day', 'ms')
    """
    bare = unit.rstrip(".")
    known = any(bare in each for each in _DIMENSIONS)
    return bare if known or len(bare) < 3 or not bare.endswith("s") else bare[:-1]


def _is_spelling(unit: str, usual: str) -> bool:
    """Whether two units are one, but for a point, the s of several and capitals that say nothing."""
    one, other = (" ".join(map(_plain, each.split())) for each in (unit, usual))
    if one == other:
        return True
    return one.casefold() == other.casefold() and min(len(one), len(other)) > 1 and {one[0], other[0]} != {"m", "M"}
