"""How a provision is worded as a line of a checklist: its text, its question, and what evidence would show it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from deepseek.citations.provisions.provision import Kind, Provision

MAX_ACT_CHARS, MAX_QUESTION_CHARS = 700, 900
#: Signal words that are no part of what is done; others (承担赔偿责任) are.
_MODAL_ZH = re.compile(
    r"^(?:应当?|必须|应该|须|不得|禁止|严禁|不准|不许|不允许|可以|可|有权|无权|无需|无须|不必|准许)$"
)
_ONLY = re.compile(r"only|只能|void|refrain|cease", re.IGNORECASE)
_NOBODY = (
    (re.compile(r"^neither\b", re.IGNORECASE), "either"), (re.compile(r"^(?:no|none of)\b", re.IGNORECASE), "any"),
    (re.compile(r"\bnor\b", re.IGNORECASE), "or"),
)  # fmt: skip
#: What shows that something is done: the first pattern that fits.
_EVIDENCE = (
    (r"报告|备案|报送|申报|report|file with|register|notif(?:y|ication) (?:to )?the",
    "the filing or report, with its date and receipt",
     "报送或备案材料及回执，注明日期"),
    (r"通知|告知|公告|公示|披露|notice|notify|inform|disclos|publish",
    "the notice, and proof that it was given in time",
     "通知或公告文本及按时送达的证明"),
    (r"合同|协议|书面|agreement|contract|in writing|written", "the signed document", "签署的书面文件"),
    (r"培训|教育|train|instruct", "the training record: who, when, what", "培训记录：人员、时间、内容"),
    (r"制度|规则|机制|预案|policy|procedure|program|measures", "the policy in force, and a record that it is followed",
     "现行制度文本及执行记录"),
    (r"记录|保存|保留|档案|record|retain|keep|store", "the records, and how long they are kept",
    "记录或档案及保存期限"),
    (r"同意|批准|许可|核准|审批|consent|approv|permission|authori[sz]", "the consent or approval, dated before the act",
     "事前取得的同意或批准文件"),
    (r"支付|缴纳|赔偿|退还|返还|补偿|承担|费用|pay|refund|reimburse|compensat|indemnif",
    "the payment, with its amount and date",
     "付款或赔付凭证，注明金额与日期"),
    (r"检查|评估|审计|检测|监测|inspect|assess|audit|test|monitor|review",
    "the report of the check, with its date and findings",
     "检查、评估或审计报告"),
    (r"保密|泄露|个人信息|confidential|personal (?:data|information)|secre",
    "the clause on confidentiality, and who has access",
     "保密条款及访问权限清单"),
    (r"删除|销毁|destroy|delete|erase|return", "the record of deletion or return", "删除、销毁或返还的记录"),
)  # fmt: skip
_EVIDENCE_OF_KIND: dict[Kind, tuple[str, str]] = {
    "obligation": ("a clause or a record that shows that it is done", "表明已履行的条款或记录"),
    "prohibition": ("a clause that forbids it, and no case of it on record", "明确禁止的条款，且无违反记录"),
    "permission": ("no clause that takes it away", "没有取消该权利的条款"),
    "deadline": ("the date of the event and that of the act", "事件发生与履行的日期"),
    "threshold": ("the figure, and how it was computed", "数值及其计算依据"),
    "penalty": ("for information: what follows from a breach", "供参考：违反的后果"),
}
RISKS: dict[Kind, str] = {
    "prohibition": "high", "obligation": "medium", "deadline": "medium", "threshold": "medium", "permission": "low",
    "penalty": "low",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Wording:
    """What a line says and asks."""

    text: str
    expect: Literal["present", "absent"]
    question: str
    evidence: str


def word_line(text: str, provision: Provision, stop: int, *, chinese: bool) -> Wording:
    """The wording of a provision of `text`, whose own words end before `stop`."""
    subject = _one_line(provision.subject.of(text)) if provision.subject else ""
    condition = _condition_words(text, provision, stop, chinese)
    act = _one_line(text[provision.cue.end : max(stop, provision.cue.end)]).strip(" ,.;，。；：:")[:MAX_ACT_CHARS]
    cue = _one_line(provision.cue.of(text))
    evidence = _evidence_of(provision.kind, f"{cue} {act}", chinese)
    if provision.kind in ("deadline", "threshold", "penalty"):
        return _word_amount(text, provision, cue, evidence, chinese)
    make = _word_chinese if chinese else _word_english
    said, expect, question = make(provision.kind, subject, condition, cue, act)
    return Wording(said, expect, question[:MAX_QUESTION_CHARS], evidence)


def _word_chinese(
    kind: Kind, subject: str, condition: str, cue: str, act: str
) -> tuple[str, Literal["present", "absent"], str]:
    lead = f"{condition}，" if condition else ""
    done = act if _MODAL_ZH.match(cue) else f"{cue}{act}"
    if cue in ("禁止", "严禁") and subject:
        done = done.removeprefix(subject)
    if kind == "obligation":
        said = f"{lead}{subject}{cue if _MODAL_ZH.match(cue) else ''}{done}"
        return said, "present", f"{lead}{subject or '有关各方'}是否{done}？"
    if kind == "prohibition" and not _ONLY.search(cue):
        return f"{lead}{subject}可以{done}", "absent", f"{lead}文件是否允许{subject or '任何人'}{done}？"
    if kind == "prohibition":
        return f"{lead}{subject}{cue}{act}", "present", f"{lead}文件是否规定{subject or '任何人'}{cue}{act}？"
    word = cue if cue in ("可以", "有权", "无需", "无须", "不必") else "可以"
    return f"{lead}{subject}{word}{done}", "present", f"{lead}{subject or '有关各方'}是否{word}{done}？"


def _word_english(
    kind: Kind, subject: str, condition: str, cue: str, act: str
) -> tuple[str, Literal["present", "absent"], str]:
    is_lead = re.match(
        r"(?:if|when|where|unless|upon|in|to|as|on|before|after|during|once)\b", condition, re.IGNORECASE
    )
    tail = f", {condition[0].lower()}{condition[1:]}" if is_lead else f" ({condition})" if condition else ""
    person = subject or "whoever is bound"
    plain = (
        person[0].lower() + person[1:]
        if re.match(r"(?:The|A|An|Each|Any|Every|All|No|Neither|Such|This|You|We)\b", person)
        else person
    )
    if kind == "obligation":
        return f"{person} must {act}{tail}", "present", f"Does the document say that {plain} must {act}{tail}?"
    if kind == "prohibition" and not _ONLY.search(cue):
        for pattern, word in _NOBODY:
            plain = pattern.sub(word, plain)
        return (
            f"{plain[0].upper()}{plain[1:]} may {act}{tail}",
            "absent",
            f"Does the document allow that {plain} may {act}{tail}?",
        )
    if kind == "prohibition":
        return f"{person} {cue} {act}{tail}", "present", f"Does the document say that {plain} {cue} {act}{tail}?"
    return f"{person} may {act}{tail}", "present", f"Does the document let {plain} {act}{tail}?"


def _word_amount(text: str, provision: Provision, cue: str, evidence: str, chinese: bool) -> Wording:
    words = _one_line(provision.clause.of(text))[:MAX_ACT_CHARS]
    if chinese:
        name = {"deadline": f"期限“{cue}”", "threshold": f"限额“{cue}”", "penalty": "罚则"}[provision.kind]
        ask = "文件是否写明违反时的处罚？" if provision.kind == "penalty" else f"文件的规定是否符合{name}？"
        return Wording(f"{name}：{words}", "present", ask, evidence)
    name = {"deadline": f"the deadline of {cue}", "threshold": f"the limit of {cue}", "penalty": "the penalty"}[
        provision.kind
    ]
    return Wording(f"{name[0].upper()}{name[1:]}: {words}", "present", f"Does the document keep to {name}?", evidence)


def _condition_words(text: str, provision: Provision, stop: int, chinese: bool) -> str:
    """The conditions that the words behind the signal word do not have themselves."""
    own = range(provision.cue.end, stop)
    parts = [_one_line(span.of(text)).strip("，,；; ") for span in provision.condition if span.start not in own]
    return ("，" if chinese else "; ").join(part for part in parts if part)


def _evidence_of(kind: Kind, words: str, chinese: bool) -> str:
    if kind == "obligation":
        for pattern, en, zh in _EVIDENCE:
            if re.search(pattern, words, re.IGNORECASE):
                return zh if chinese else en
    en, zh = _EVIDENCE_OF_KIND[kind]
    return zh if chinese else en


def _one_line(words: str) -> str:
    joint = "" if re.search(r"[一-鿿]\s*\n", words) else " "
    return " ".join(joint.join(line.strip() for line in words.splitlines()).split())
