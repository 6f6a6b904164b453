"""Names of months, as dates have them in several languages.

>>> month_number("Mai"), month_number("sept."), month_number("février"), month_number("5월")
(5, 9, 2, None)
"""

from __future__ import annotations

import re
import unicodedata

#: Of each language: full names in the form that stands in a date, then abbreviations that are no beginnings of these.
_NAMES: dict[str, tuple[str, str]] = {
    "en": (
        "january february march april may june july august september october november december",
        "sept:9",
    ),
    "de": (
        "januar februar märz april mai juni juli august september oktober november dezember",
        "mrz:3 jän:1 jänner:1",
    ),
    "fr": (
        "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
        "juil:7 janv:1 févr:2",
    ),
    "es": (
        "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
        "setiembre:9 set:9",
    ),
    "it": (
        "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
        "",
    ),
    "pt": (
        "janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro",
        "",
    ),
    "nl": (
        "januari februari maart april mei juni juli augustus september oktober november december",
        "mrt:3",
    ),
    "sv": (
        "januari februari mars april maj juni juli augusti september oktober november december",
        "",
    ),
    "no": (
        "januar februar mars april mai juni juli august september oktober november desember",
        "",
    ),
    "da": (
        "januar februar marts april maj juni juli august september oktober november december",
        "",
    ),
    "pl": (
        "stycznia lutego marca kwietnia maja czerwca lipca sierpnia września października listopada grudnia",
        "",
    ),
    "cs": (
        "ledna února března dubna května června července srpna září října listopadu prosince",
        "",
    ),
    "fi": (
        (
            "tammikuuta helmikuuta maaliskuuta huhtikuuta toukokuuta kesäkuuta "
            "heinäkuuta elokuuta syyskuuta lokakuuta marraskuuta joulukuuta"
        ),
        "",
    ),
    "tr": (
        "ocak şubat mart nisan mayıs haziran temmuz ağustos eylül ekim kasım aralık",
        "",
    ),
    "ru": (
        "января февраля марта апреля мая июня июля августа сентября октября ноября декабря",
        "май:5",
    ),
    "uk": (
        "січня лютого березня квітня травня червня липня серпня вересня жовтня листопада грудня",
        "",
    ),
}
MIN_LETTERS = 3  # of an abbreviation


def _plain(name: str) -> str:
    """Small letters without accents, and without a point behind them."""
    bare = unicodedata.normalize("NFKD", name.casefold().rstrip("."))
    return "".join(letter for letter in bare if not unicodedata.combining(letter))


def _number_by_name() -> dict[str, int]:
    """The month of each full name, of each of its beginnings that no other month has, and of the abbreviations."""
    numbers: dict[str, set[int]] = {}
    for full_names, more in _NAMES.values():
        for number, name in enumerate(full_names.split(), 1):
            plain = _plain(name)
            for length in range(MIN_LETTERS, len(plain) + 1):
                numbers.setdefault(plain[:length], set()).add(number)
        for item in more.split():
            name, _, number_text = item.partition(":")
            numbers[_plain(name)] = {int(number_text)}
    for number, name in enumerate(_NAMES["en"][0].split(), 1):  # mar is March, though marraskuuta begins with it
        numbers[name[:MIN_LETTERS]] = {number}
    for full_names, _ in _NAMES.values():  # a full name is itself, whatever it is the beginning of elsewhere
        for number, name in enumerate(full_names.split(), 1):
            numbers[_plain(name)] = {number}
    return {name: numbers.copy().pop() for name, numbers in numbers.items() if len(numbers) == 1}


_NUMBERS = _number_by_name()
NAME_PATTERN = r"(?P<name>[^\W\d_]{3,13}\.?)"


def month_number(name: str) -> int | None:
    """The month, 1 to 12, that a word names in one of the languages; None where it names none, or could be two."""
    return _NUMBERS.get(_plain(name)) if re.fullmatch(r"[^\W\d_]{3,13}\.?", name) else None
