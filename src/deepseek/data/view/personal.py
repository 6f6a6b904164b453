"""Which columns may name people: by their names, by their kind, and by what their values look like.

    withholding_reason(profile, "category")       "e-mail addresses", or "" where nothing speaks for it

A card shows no value of such a column. The rules would rather withhold one column too many: what is lost is a line of
figures, and a card is passed on. They are rules of thumb: a column of theirs with harmless words and values that look
like nothing known (a nickname, a code of one's own) is not recognized.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from deepseek.data.features.modality import ColumnProfile
from deepseek.data.table.table import is_integral
from deepseek.look import Text

MAX_VALUES: Final = 20_000  # distinct values that are looked at, the most frequent first
MIN_SHARE: Final = 0.8  # of the distinct values that look alike, of which one alone says little
MIN_NAMES: Final = 5  # distinct values from which they are taken for names of people
MIN_CODE_DIGITS: Final = 8  # of whole numbers that are taken for numbers of accounts
MIN_CODE_DISTINCT: Final = 0.5  # share of rows with a value of their own, from which numbers are

#: What is said of a withheld column. The keys stand in the JSON.
REASONS: Final = {
    reason.en: reason
    for reason in (
        Text("free text", "自由文本"), Text("identifiers", "标识"), Text("names of people", "人名"),
        Text("e-mail addresses", "电子邮箱"), Text("phone numbers", "电话号码"),
        Text("card, account or document numbers", "卡号、账号或证件号"), Text("addresses", "地址"),
        Text("dates of birth", "出生日期"), Text("network addresses", "网络地址"),
    )
}  # fmt: skip

_NUMBERED = "card|account|acct|tax|national|social_security|insurance|policy|document|contract|personal"
_NAMED = (
    "first|last|middle|full|sur|fore|given|family|maiden|user|nick|birth|customer|client|patient|person|employee|contact|"
    "holder|owner|author|doctor|physician|merchant|beneficiary|payee|payer|sender|recipient"
)
_PEOPLE = (
    "name|names|person|customer|client|patient|employee|cardholder|holder|contact|beneficiary|payee|payer|sender|"
    "recipient|user|member|author|doctor|physician"
)
_DOCUMENTS = (
    "iban|bic|swift|ssn|nhs|mrn|passport|pan|cvv|nin|tin|licen[cs]e_(?:no|number|plate)|"
    f"(?:{_NUMBERED})_(?:no|nr|num|number|id|code)"
)
_DEVICES = "ip|ipv4|ipv6|ip_?addr(?:ess)?|mac|mac_?address|imei|imsi|device_?id|cookie"
#: Reason, English words anywhere in the name of a column, Chinese ones.
_NAME_WORDS: Final = (
    ("e-mail addresses", "e_?mails?|mail", "邮箱|邮件|电邮"),
    ("phone numbers", "phone|telephone|mobile|cell_?phone|fax|tel|msisdn|whatsapp", "电话|手机|传真"),
    ("card, account or document numbers", _DOCUMENTS, "卡号|账号|帐号|账户|身份证|护照|社保|证件|车牌"),
    ("network addresses", _DEVICES, "设备号"),
    ("addresses", "address|addr|street|post_?code|zip|zip_?code|postal_?code", "地址|住址|街道|邮编"),
    ("dates of birth", "dob|birth_?(?:date|day)|date_of_birth|birth", "生日|出生"),
    (
        "names of people", f"(?:{_NAMED})_?names?|surname|forename|username|login|nickname|signature",
        "姓名|名字|联系人|用户名|昵称|客户名|患者名",
    ),
)  # fmt: skip
#: Reason, words that the name must end with: a "card" is one, a "card_type" is none.
_LAST_WORDS: Final = (
    ("names of people", _PEOPLE),
    ("card, account or document numbers", "card|account|acct"),
    ("identifiers", "id|ids|uuid|guid|hash|token"),
)
_VALUE_FORMS: Final = (
    ("e-mail addresses", r"[^\s@<>]+@[^\s@<>]+\.[^\s@<>.]{2,}"),
    ("card, account or document numbers", r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?\b"),  # IBAN
    ("card, account or document numbers", r"(?<!\d)\d{4}[ -]\d{4}[ -]\d{4}[ -]\d{1,7}(?!\d)"),  # of a card
    ("card, account or document numbers", r"(?<!\d)\d{17}[\dXx](?!\d)|(?<!\d)\d{3}-\d{2}-\d{4}(?!\d)"),  # of a person
    ("network addresses", r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.])|(?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}"),
    ("phone numbers", r"(?<![\d.])\+\d[\d ()/.-]{6,}\d|(?<!\d)1[3-9]\d{9}(?!\d)|\(\d{2,5}\)[ -]?\d{3}[\d -]{2,}"),
)
# Two to four words that begin with a capital, perhaps after a title, or "Last, First".
_PERSON = re.compile(
    r"(?:(?i:mr|mrs|ms|miss|dr|prof|herr|frau|mme|sr|sra)\.? )?"
    r"[^\W\d_a-z][^\W\d_]*(?:['’-][^\W\d_]+)*,?(?: (?:van|von|de|der|den|di|da|del|la|le|bin|al)){0,2}"
    r"(?: [^\W\d_a-z](?:\.|[^\W\d_]*(?:['’-][^\W\d_]+)*)){1,3}"
)
_CAPITALS = re.compile(r"[A-ZÀ-ÖØ-Þ]")
_CHINESE_NAME = re.compile(r"[\u4e00-\u9fff]{2,4}")
_CHINESE_SURNAMES: Final = frozenset(
    "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁谢宋唐许韩冯邓曹彭曾肖田董袁潘于蒋蔡余杜叶程苏魏吕丁任沈姚卢姜崔钟谭陆汪范金石"
    "廖贾夏韦付方白邹孟熊秦邱江尹薛闫段雷侯龙史陶黎贺顾毛郝龚邵万钱严覃武戴莫孔向汤"
)


def withholding_reason(profile: ColumnProfile, kind: str) -> str:
    """A key of REASONS for a column that may name people, "" for any other. `kind` is that of find_kinds().

    >>> column = np.array(["a@b.org", "c@d.org"], object)
    >>> withholding_reason(ColumnProfile("x", "text", column, np.zeros(2, bool)), "category")
    'e-mail addresses'
    """
    named = _reason_by_name(profile.name)
    if named and kind != "boolean":
        return named
    if kind == "identifier":
        return "identifiers"
    if profile.type == "number":
        return "card, account or document numbers" if _are_codes(profile) else ""
    if profile.type != "text":
        return ""
    if kind == "text":
        return "free text"
    values = [str(value) for value in list(profile.counts)[:MAX_VALUES]]
    return _reason_by_form(values) or _reason_by_names(values)


def describe_reason(reason: str) -> Text:
    """A reason in both languages; one of another version as it is."""
    return REASONS.get(reason, Text(reason, reason))


def _reason_by_name(name: str) -> str:
    """By the words of the column's name, which may be joined by anything or by capitals: "CustomerName", "e-mail"."""
    split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[\s.:/\\-]+", "_", name).lower()
    for reason, words, chinese in _NAME_WORDS:
        if re.search(rf"(?:^|_)(?:{words})(?:_|\d|$)", split) or re.search(chinese, name):
            return reason
    for reason, words in _LAST_WORDS:
        if re.search(rf"(?:^|_)(?:{words})\d*$", split):
            return reason
    return "identifiers" if re.search(r"(?:编号|序号|流水号|号码)$", name) else ""


def _reason_by_form(values: Sequence[str]) -> str:
    """One e-mail address or account number among the values is enough."""
    for reason, form in _VALUE_FORMS:
        matches = re.compile(form).search
        if any(matches(value) for value in values):
            return reason
    return ""


def _reason_by_names(values: Sequence[str]) -> str:
    """Whether most of the values are written as names of people are."""
    if len(values) < MIN_NAMES:
        return ""
    checks: tuple[Callable[[str], bool], ...] = (_is_person, _is_chinese_person)
    return "names of people" if any(_share(values, check) >= MIN_SHARE for check in checks) else ""


def _share(values: Sequence[str], check: Callable[[str], bool]) -> float:
    return float(np.mean([check(value) for value in values]))


def _is_person(value: str) -> bool:
    text = value.strip()
    words = [word for word in re.split(r"[ ,]+", text) if word]
    capitals = sum(bool(_CAPITALS.match(word)) for word in words)
    return _PERSON.fullmatch(text) is not None and capitals >= 2


def _is_chinese_person(value: str) -> bool:
    return _CHINESE_NAME.fullmatch(value.strip()) is not None and value.strip()[0] in _CHINESE_SURNAMES


def _are_codes(profile: ColumnProfile) -> bool:
    """Whether whole numbers have eight digits or more, as many each, and hardly repeat."""
    present = profile.present
    if not len(present) or not is_integral(present) or len(profile.counts) < MIN_CODE_DISTINCT * len(present):
        return False
    digits = np.floor(np.log10(np.maximum(np.abs(present.astype(np.float64)), 1.0))) + 1
    return bool(digits.min() >= MIN_CODE_DIGITS and np.mean(digits == np.median(digits)) >= MIN_SHARE)
