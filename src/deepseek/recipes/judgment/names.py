"""Names in a draft that the facts do not have: behind the role of a party, and in English any capitalized name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from deepseek.citations.provisions.reading import is_chinese
from deepseek.citations.support.in_force import InForce
from deepseek.recipes.judgment.facts import Facts

_ROLE_ZH = re.compile(
    r"(?P<role>原告|被告|第三人|上诉人|被上诉人|申请人|被申请人|出借人|借款人|出租人|承租人|出卖人|买受人)[：:]?"
    r"(?=(?P<behind>[一-鿿A-Za-z·]{2,24}))"
)
#: Two to four letters that end where a name does.
_NAME_ZH = re.compile(r"[一-鿿]{2,4}?(?=和|与|、|应当|向|于|的|未|已|不|承担|支付|签订|主张|称|返还|赔偿|$)")
_FAMILY_NAMES = frozenset(
    "王李张刘陈杨黄赵周吴徐孙朱马胡郭林何高梁郑罗宋谢唐韩曹许邓萧冯曾程蔡彭潘袁于董余苏叶吕魏蒋田杜丁沈姜范江傅钟卢汪戴崔任陆廖姚方金邱夏谭韦贾邹石熊孟秦阎薛侯雷白龙段郝孔邵史毛常万顾赖武康贺严尹钱施牛洪龚"
)
_NO_NAME = frozenset("应可不与和在于向对将被已未认主称的是至因之以自从及时人处种")
_BETWEEN = r"(?:[\s,]+(?:the\s+)?)"
_CAPITALIZED = re.compile(
    r"(?<![.!?“\"]\s)(?<!^)\b[A-Z](?:\w|['’.-](?=\w))+(?:\s(?:[A-Z]\.?\s)?[A-Z](?:\w|['’-](?=\w))+)+|\b[A-Z]\.\s[A-Z]\w+"
)


def strange_names(words: str, facts: Facts, law: InForce, known: str) -> Iterator[str]:
    """Names behind a role that are not that party's, and English names that nothing knows."""
    if is_chinese(words):
        for match in _ROLE_ZH.finditer(words):
            behind = match["behind"]
            right = [party.name for party in facts.parties if party.role == match["role"]]
            if not right or any(behind.startswith(name) for name in right):
                continue
            others = [name for name in facts.names if behind.startswith(name)]
            if others:
                yield f"{match['role']}{others[0]}"
            elif _looks_like_name(behind, right):
                yield f"{match['role']}{behind[:4]}"
        return
    for party in facts.parties:
        pattern = re.compile(
            rf"\b{re.escape(party.role)}{_BETWEEN}((?-i:[A-Z][\w.'’-]*(?:\s[A-Z][\w.'’-]*)*))", re.IGNORECASE
        )
        for match in pattern.finditer(words):
            if not match[1].startswith(party.name) and not party.name.startswith(match[1]):
                yield match[1]
    vocabulary = " ".join((*facts.values.values(), known, *{clause.law for clause in law.corpus}))
    for match in _CAPITALIZED.finditer(words):
        if match[0] not in vocabulary:
            yield match[0]


def _looks_like_name(behind: str, right: Sequence[str]) -> bool:
    """Whether what stands behind a role is a name: like the right one, or of a family name, and no verb."""
    for name in right:
        same = sum(one == two for one, two in zip(name, behind, strict=False))
        if same >= max(1, len(name) - 2) or behind[len(name) - 2 : len(name)] == name[-2:]:
            return True
    match = _NAME_ZH.match(behind)
    return match is not None and match[0][0] in _FAMILY_NAMES and match[0][1] not in _NO_NAME
