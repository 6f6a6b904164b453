"""Words for "not known" among numbers and dates, and what a search for the format of a column found."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

#: Beside NULL_WORDS, in small letters. Only among numbers or dates: in a column of words, "none" may be one of them.
MISSING_WORDS = frozenset(
    [
        # English
        "na", "n.a.", "n.a", "n\\a", "none", "nil", "null", "nan", "nat", "missing", "unknown", "unk",
        "not available", "not applicable", "not known", "not recorded", "not reported", "not stated", "not given",
        "not specified", "not measured", "not tested", "not provided", "unspecified", "undefined", "undetermined",
        "unavailable", "no data", "no value", "no answer", "no response", "no reply", "no record", "refused",
        "declined", "declined to answer", "don't know", "dont know", "do not know", "prefer not to say", "dk", "nd",
        "n.d.", "n/d", "n.k.", "n.r.", "nr", "tbd", "tba", "tbc", "to be determined", "to be confirmed", "pending",
        "void", "blank", "empty", "(null)", "[null]", "<null>", "(none)", "(blank)", "(missing)", "(unknown)", "\\n",
        "xx", "xxx", "0000-00-00", "#n/a", "#value!", "#ref!", "#div/0!", "#name?", "#num!", "#null!", "#error!",
        "#error",
        # German, French, Spanish, Portuguese, Italian, Dutch
        "k.a.", "k. a.", "k.a", "keine angabe", "keine angaben", "unbekannt", "nicht bekannt", "nicht verfügbar",
        "fehlt", "leer", "entfällt", "n.v.", "inconnu", "inconnue", "non renseigné", "non renseignée",
        "non disponible", "manquant", "sans objet", "s.o.", "n.c.", "nc", "s/o", "desconocido", "desconocida",
        "sin dato", "sin datos", "no disponible", "no aplica", "no consta", "s/d", "ns/nc", "ninguno",
        "desconhecido", "desconhecida", "não informado", "sem dados", "sem informação", "não disponível",
        "sconosciuto", "sconosciuta", "non disponibile", "mancante", "onbekend", "n.v.t.", "nvt", "geen gegevens",
        "niet beschikbaar",
        # Polish, Czech, Swedish, Norwegian, Danish, Finnish, Turkish, Russian
        "brak", "brak danych", "nieznany", "b.d.", "neznámý", "není k dispozici", "okänd", "saknas",
        "uppgift saknas", "ukjent", "mangler", "ukendt", "ikke oplyst", "tuntematon", "puuttuu", "bilinmiyor", "yok",
        "нет данных", "неизвестно", "не указано", "отсутствует", "н/д", "нет",
        # Chinese, Japanese, Korean
        "无", "無", "未知", "缺失", "缺失值", "不详", "不詳", "不明", "不清楚", "空", "空白", "空值", "暂无", "没有",
        "未填", "未填写", "未提供", "未记录", "未检测", "未测", "无数据", "没有数据", "不适用", "待定", "拒答",
        "データなし", "なし", "欠損", "未定", "該当なし", "未回答", "없음", "미상", "모름", "알 수 없음",
        "해당 없음",
    ]
)  # fmt: skip
_NO_LETTER = re.compile(r"[\W_]{1,12}")
MAX_ODD_SHARE = 0.05  # of the cells that are neither numbers (or dates) nor such words; a column with more stays text
MAX_WANTED_ODD_SHARE = 0.5  # where the user says that they are numbers (or dates)
MAX_SAID_SHARE = 0.3  # up to which it is said that the column looked like numbers (or dates)
MIN_VALUES_BESIDE_ODD = 25  # different ones; beside fewer, the odd cells are levels, as in 1, 2, A
MAX_RARE_WORDS = 2  # different texts beside few different numbers that are said
MAX_ODD_WORDS = 200  # different texts that count as missing in one column

Format = TypeVar("Format")


@dataclass(frozen=True)
class FormatSearch(Generic[Format]):
    """The format that fits most cells of a column, if any does, and the cells that it does not fit."""

    format: Format | None
    odd: Mapping[str, int]  # rows of each text that does not fit
    num_rows: int  # with a value
    num_distinct: int = 0  # texts that fit
    doubt: str = ""  # what cannot be told from the column alone
    is_wanted: bool = False  # the user says that the column is one of numbers (or dates)

    @property
    def num_odd(self) -> int:
        return sum(self.odd.values())

    @property
    def is_accepted(self) -> bool:
        """Whether so many cells fit that the column is read so, and the odd ones count as missing."""
        if self.format is None or not self.odd:
            return self.format is not None
        if self.is_wanted:
            return self.num_odd <= MAX_WANTED_ODD_SHARE * self.num_rows
        few = self.num_odd <= MAX_ODD_SHARE * self.num_rows and len(self.odd) <= MAX_ODD_WORDS
        return few and self.num_distinct >= MIN_VALUES_BESIDE_ODD

    @property
    def is_near(self) -> bool:
        """Whether the column stays text though most of its cells fit: many different ones, or all but a word or two."""
        few = self.num_odd <= MAX_SAID_SHARE * self.num_rows and self.num_distinct >= MIN_VALUES_BESIDE_ODD
        rare = self.num_odd <= MAX_ODD_SHARE * self.num_rows and len(self.odd) <= MAX_RARE_WORDS
        return self.format is not None and not self.is_accepted and (few or rare)


def is_missing_word(text: str) -> bool:
    """Whether a text says "not known" to every reader: one of MISSING_WORDS, or marks alone, such as "?" and "...".

    >>> is_missing_word("Unknown"), is_missing_word("--"), is_missing_word("x")
    (True, True, False)
    """
    return text.lower() in MISSING_WORDS or _NO_LETTER.fullmatch(text) is not None


def split_missing(counts: Mapping[str, int], more_words: Iterable[str]) -> tuple[tuple[str, ...], dict[str, int]]:
    """The texts of a column that mean "not known", in order, and the others with their rows."""
    known = frozenset(more_words)
    missing = frozenset(text for text in counts if text in known or is_missing_word(text))
    return tuple(sorted(missing)), {text: count for text, count in counts.items() if text not in missing}
