"""A second set of messy columns, of other words, currencies, units, languages and orders than the first.

It was written when the reading was done, and the first figure on it is the one that docs/log.md tells. 40 columns with
0 to 5 % of cells that say nothing, and 20 clean ones that look like numbers or dates and are none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

NUM_ROWS = 360
SEEDS = (101, 102, 103)
Amounts = np.ndarray[Any, np.dtype[np.float64]]
NORDIC_MONTHS = [
    "januar",
    "februar",
    "mars",
    "april",
    "mai",
    "juni",
    "juli",
    "august",
    "september",
    "oktober",
    "november",
    "desember",
]
ITALIAN_MONTHS = [
    "gennaio",
    "febbraio",
    "marzo",
    "aprile",
    "maggio",
    "giugno",
    "luglio",
    "agosto",
    "settembre",
    "ottobre",
    "novembre",
    "dicembre",
]
DUTCH_SHORT = ["jan", "feb", "mrt", "apr", "mei", "jun", "jul", "aug", "sep", "okt", "nov", "dec"]
POLISH_MONTHS = [
    "stycznia",
    "lutego",
    "marca",
    "kwietnia",
    "maja",
    "czerwca",
    "lipca",
    "sierpnia",
    "września",
    "października",
    "listopada",
    "grudnia",
]


@dataclass(frozen=True)
class UnseenColumn:
    """Cells, and what they were written from: float64 or datetime64[ms], NaN or NaT where a cell says nothing."""

    cells: list[str]
    values: np.ndarray[Any, Any]


def _grouped(amount: float, digits: int, thousands: str, decimal: str) -> str:
    return f"{amount:,.{digits}f}".replace(",", "\0").replace(".", decimal).replace("\0", thousands)


#: name: how an amount of 100 to 20,000 is written, and the number that this says
_NUMBERS: dict[str, tuple[Callable[[float], str], Callable[[float], float]]] = {
    "rand": (lambda x: f"R {_grouped(x, 2, ' ', ',')}", lambda x: round(x, 2)),
    "shekel": (lambda x: f"₪{x:,.0f}", round),
    "lira": (lambda x: f"{_grouped(x, 2, '.', ',')} TL", lambda x: round(x, 2)),
    "forint": (lambda x: f"{_grouped(100 * x, 0, ' ', ',')} Ft", lambda x: round(100 * x)),
    "Mexican pesos": (lambda x: f"MX${x:,.2f}", lambda x: round(x, 2)),
    "rupees in lakh groups": (lambda x: f"₹ {_lakh(100 * x)}", lambda x: round(100 * x)),
    "dong": (lambda x: f"{_grouped(1_000 * x, 0, '.', ',')} ₫", lambda x: round(1_000 * x)),
    "dirham": (lambda x: f"AED {x:,.2f}", lambda x: round(x, 2)),
    "crowns with a dash": (lambda x: f"{x:.0f},- kr", round),
    "loss in words": (lambda x: f"({x:.2f} CHF)" if x < 1_500 else f"{x:.2f} CHF",
                      lambda x: round(-x if x < 1_500 else x, 2)),
    "percentage points": (lambda x: f"{(x - 3_000) / 1_000:+.2f} pp", lambda x: round((x - 3_000) / 1_000, 2)),
    "per mille": (lambda x: f"{x / 1_000:.2f} ‰", lambda x: round(x / 1_000, 2)),
    "basis points": (lambda x: f"{x / 10:.0f} bps", lambda x: round(x / 10)),
    "clearance": (lambda x: f"{x / 100:.1f} mL/min/1.73m²", lambda x: round(x / 100, 1)),
    "sugar": (lambda x: f"{x / 1_000:.2f} mmol/L", lambda x: round(x / 1_000, 2)),
    "revolutions": (lambda x: f"{x:,.0f} rpm", round),
    "area": (lambda x: f"{x:,.0f} sq ft", round),
    "intensity": (lambda x: f"{x / 100:.1f} kWh/m²", lambda x: round(x / 100, 1)),
    "dose": (lambda x: f"{x / 1_000:.3f} g" if x > 1_000 else f"{x:.0f} mg",
             lambda x: round(x / 1_000, 3)),
    "distances": (lambda x: f"{x / 1_000:.2f} km" if x > 1_000 else f"{x:.0f} m",
                  lambda x: round(x / 1_000, 3 if x <= 1_000 else 2)),
    "months of age": (lambda x: f"{int(x) % 60 + 1} months" if int(x) % 60 else "1 month", lambda x: int(x) % 60 + 1),
    "durations": (lambda x: f"{int(x) // 60} hr {int(x) % 60} min", lambda x: int(x) / 60),
    "turnover": (lambda x: f"€{x / 1_000:.1f} Mio" if x > 1_000 else f"€{x:.0f} Tsd",
                 lambda x: round(x / 1_000, 1) * 1e6 if x > 1_000 else round(x) * 1e3),
    "views": (lambda x: f"{x / 1_000:.1f}K views", lambda x: round(x / 1_000, 1) * 1_000),
    "price in wan": (lambda x: f"{x / 100:.1f}万円", lambda x: round(x / 100, 1) * 1e4),
    "about": (lambda x: f"ca. {x:.0f}", round),
}  # fmt: skip
#: name: the word for "not known", its share, and how other amounts are written
_WORDS: dict[str, tuple[str, float, Callable[[float], str], Callable[[float], float]]] = {
    "Swedish word": ("uppgift saknas", 0.08, lambda x: f"{x / 10:.1f}".replace(".", ","), lambda x: round(x / 10, 1)),
    "Japanese word": ("未測定", 0.03, lambda x: f"{x / 10:.1f}", lambda x: round(x / 10, 1)),
    "laboratory word": ("hemolyzed", 0.03, lambda x: f"{x / 100:.2f}", lambda x: round(x / 100, 2)),
    "nines": ("-9999", 0.03, lambda x: f"{x / 200:.1f}", lambda x: round(x / 200, 1)),
    "few levels": ("No answer", 0.05, lambda x: f"{int(x) % 7 + 1}", lambda x: float(int(x) % 7 + 1)),
}  # fmt: skip
_DATES: dict[str, Callable[[Any], str]] = {
    "Norwegian": lambda day: f"{day.day}. {NORDIC_MONTHS[day.month - 1]} {day.year}",
    "Italian": lambda day: f"{day.day} {ITALIAN_MONTHS[day.month - 1]} {day.year}",
    "Dutch": lambda day: f"{day.day:02d}-{DUTCH_SHORT[day.month - 1]}-{day.year}",
    "Polish": lambda day: f"{day.day} {POLISH_MONTHS[day.month - 1]} {day.year}",
    "Korean": lambda day: f"{day.year}년 {day.month}월 {day.day}일",
    "eight digits": lambda day: f"{day:%Y%m%d}",
    "year first, two digits": lambda day: f"{day:%y/%m/%d}",
    "ordinal day": lambda day: f"{day:%B} {day.day}{_suffix(day.day)}, {day.year}",
    "of a log": lambda day: f"{day:%d/%b/%Y:%H:%M:%S} +0000",
}  # fmt: skip


def _lakh(amount: float) -> str:
    text = f"{amount:.0f}"
    head, tail = text[:-3], text[-3:]
    groups: list[str] = []
    while head:
        groups.insert(0, head[-2:])
        head = head[:-2]
    return ",".join([*groups, tail])


def _suffix(day: int) -> str:
    return "th" if day in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")


def unseen_columns(seed: int) -> dict[str, UnseenColumn]:
    """40 columns by name; in every third some cells are a remark that nobody could list."""
    rng = np.random.default_rng(seed)
    amounts: Amounts = np.clip(rng.gamma(2.0, 1_800.0, NUM_ROWS) + 100, None, 19_000)
    columns: dict[str, UnseenColumn] = {}
    for place, (name, (write, value)) in enumerate(_NUMBERS.items()):
        cells, values = [write(x) for x in amounts], np.array([float(value(x)) for x in amounts])
        columns[name] = _with_remarks(cells, values, rng) if place % 3 == 0 else UnseenColumn(cells, values)
    for name, (word, share, write, value) in _WORDS.items():
        is_word = rng.random(NUM_ROWS) < share
        is_word[:5] = True
        cells = [word if odd else write(x) for x, odd in zip(amounts, is_word, strict=True)]
        columns[name] = UnseenColumn(cells, np.where(is_word, np.nan, [float(value(x)) for x in amounts]))
    moments = np.datetime64("2017-03-01T00:00:00") + rng.integers(0, 5 * 365 * 86_400, NUM_ROWS)
    for place, (name, describe) in enumerate(_DATES.items()):
        cells = [describe(moment) for moment in moments.astype(object)]
        known = (moments if name == "of a log" else moments.astype("datetime64[D]")).astype("datetime64[ms]")
        columns[name] = _with_remarks(cells, known, rng) if place % 3 == 0 else UnseenColumn(cells, known)
    return columns


def _with_remarks(cells: Sequence[str], values: np.ndarray[Any, Any], rng: np.random.Generator) -> UnseenColumn:
    """2 % of the cells say what nobody foresaw."""
    odd = np.flatnonzero(rng.random(len(cells)) < 0.02)
    said = [*cells]
    for number, row in enumerate(odd.tolist()):
        said[row] = ("see mail", "ask Jan", "double entry!")[number % 3]
    empty = values.copy()
    empty[odd] = np.datetime64("NaT") if values.dtype.kind == "M" else np.nan
    return UnseenColumn(said, empty)


def unseen_texts(seed: int) -> dict[str, list[str]]:
    """20 columns that look like numbers or dates, and are none."""
    rows = np.random.default_rng(seed).integers(0, 10_000, NUM_ROWS).tolist()
    return {
        "postcode": [f"{row:04d}" for row in rows],
        "British postcode": [f"SW{row % 20} {row % 9}AA" for row in rows],
        "telephone": [f"+33 6 {row % 90 + 10} {row % 80 + 10} {row % 70 + 10} {row % 60 + 10}" for row in rows],
        "area code": [f"0{row % 900 + 100}/{row % 9000 + 1000}" for row in rows],
        "release": [f"{row % 4}.{row % 13}.{row % 30}-rc{row % 3}" for row in rows],
        "semantic version": [f"{row % 5}.{row % 20}.{row % 11}" for row in rows],
        "address": [f"172.16.{row % 32}.{row % 250}" for row in rows],
        "part": [f"{row % 90 + 10}-{row % 80 + 10}" for row in rows],
        "fraction": [f"{row % 5 + 1}/{2 ** (row % 4 + 1)}" for row in rows],
        "color": [f"#{row * 1661:06x}" for row in rows],
        "gene": [("MARCHF1", "SEPTIN2", "DEC1", "HER2", "CD4", "P53")[row % 6] for row in rows],
        "place": [f"{row % 30 + 4}th" for row in rows],
        "result": [f"{row % 5}-{row % 4}" for row in rows],
        "ages": [f"{10 * (row % 8)}-{10 * (row % 8) + 9}" for row in rows],
        "chapter": [f"{row % 12 + 1}.{row % 9}.a" for row in rows],
        "tooth": [f"{row % 4 + 1}{row % 8 + 1}B" for row in rows],
        "season": [f"{2000 + row % 20}/{(row + 1) % 20:02d}" for row in rows],
        "ratio": [f"{row % 9 + 1}:{row % 4 + 1}" for row in rows],
        "registration": [f"{row % 90 + 10}-XK-{row % 9}" for row in rows],
        "size": [f"{row % 40 + 20}x{row % 30 + 10}" for row in rows],
    }
