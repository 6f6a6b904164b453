"""Chinese numbers as they stand in law: read to compare, written for the numbers of articles.

>>> parse_number("二百六十四"), parse_number("1043"), parse_number("十五"), parse_number("5.5"), to_chinese(1043)
(264.0, 1043.0, 15.0, 5.5, '一千零四十三')
"""

from __future__ import annotations

DIGITS = {letter: place for place, letter in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
POWERS_OF_TEN = {"十": 10, "百": 100, "千": 1000}
LARGE_POWERS = {"万": 10**4, "亿": 10**8}
NUMERAL_CHARS = "".join((*DIGITS, *POWERS_OF_TEN, *LARGE_POWERS))


def parse_number(text: str) -> float:
    """The value of a number in digits or in Chinese. ValueError for anything else."""
    plain = text.replace(",", "")
    if plain and plain[0].isascii():
        return float(plain)
    if not plain or any(letter not in NUMERAL_CHARS for letter in plain):
        raise ValueError(f"{text!r} is no number")
    if not any(letter in POWERS_OF_TEN or letter in LARGE_POWERS for letter in plain):
        return float("".join(str(DIGITS[letter]) for letter in plain))  # 二〇二三
    whole = part = digit = 0
    for letter in plain:
        if letter in DIGITS:
            digit = DIGITS[letter]
        elif letter in POWERS_OF_TEN:
            part += (digit or 1) * POWERS_OF_TEN[letter]
            digit = 0
        else:
            whole = (whole + part + digit) * LARGE_POWERS[letter]
            part = digit = 0
    return float(whole + part + digit)


def to_chinese(value: int) -> str:
    """A whole number from 0 to 9999 in Chinese.

    >>> [to_chinese(value) for value in (0, 10, 18, 101, 120, 1001)]
    ['零', '十', '十八', '一百零一', '一百二十', '一千零一']
    """
    names = "零一二三四五六七八九"
    if not 0 <= value <= 9999:
        raise ValueError(f"{value} is not from 0 to 9999")
    if value < 10:
        return names[value]
    text, waits = "", False
    for letter, step in (("千", 1000), ("百", 100), ("十", 10), ("", 1)):
        digit = value // step % 10
        if not digit:
            waits = bool(text)
            continue
        text += ("零" if waits else "") + names[digit] + letter
        waits = False
    return text[1:] if text.startswith("一十") else text
