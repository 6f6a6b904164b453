"""A short code of law of our own, a case and a template, in English and in Chinese: what --example runs on. The
code has
two versions, of which the one of the day of the facts counts."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

_LAW_EN = {
    "Small Loans Act 2018-06-01.txt": """Small Loans Act

Article 1 A loan of money must be in writing and signed by the borrower.
Article 2 The rate of interest may not exceed 36 % a year.
Article 3 A lender may not deduct interest from the principal in advance. Where it does, the borrower repays what \
was paid out.
Article 4 A borrower who does not repay when the loan is due shall pay interest at the agreed rate until repayment.
""",
    "Small Loans Act 2023-01-01.txt": """Small Loans Act

Article 1 A loan of money must be in writing and signed by the borrower.
Article 2 The rate of interest may not exceed 24 % a year.
Article 3 A lender may not deduct interest from the principal in advance. Where it does, the borrower repays what \
was paid out.
Article 4 A borrower who does not repay when the loan is due shall pay interest at the agreed rate until repayment. \
The \
lender may ask for the costs of the action.
Article 5 This Act takes effect on 1 March 2023.
""",
}
_FACTS_EN = {
    "date": "2024-03-05",
    "case": {"number": "Case 17 of 2025", "court": "District Court of Larkfield"},
    "parties": [{"role": "plaintiff", "name": "Anna Brook"}, {"role": "defendant", "name": "Tomas Reed"}],
    "loan": {"signed": "5 March 2024", "due": "5 September 2024", "principal": "12,000 euros",
    "paid_out": "11,400 euros",
             "deducted": "600 euros", "rate": "10 %"},
}  # fmt: skip
_TEMPLATE_EN = """# Draft of a judgment: {{case.number}}

{{case.court}}. Plaintiff: {{parties.plaintiff}}. Defendant: {{parties.defendant}}.

## Facts

On {{loan.signed}} the plaintiff {{parties.plaintiff}} and the defendant {{parties.defendant}} signed a loan of \
{{loan.principal}} at {{loan.rate}} a year, due on {{loan.due}}. {{if loan.deducted}}The plaintiff \
{{parties.plaintiff}} \
deducted {{loan.deducted}} and paid out {{loan.paid_out}}.{{end}}

## Law

{{law: Small Loans Act | Article 2}}
{{law: Small Loans Act | Article 3}}
{{law: Small Loans Act | Article 4}}

## Reasons

In this case the agreed rate of {{loan.rate}} is within the limit of Article 2 of the Small Loans Act. {{if \
loan.deducted}}Under Article \
3 of the Small Loans Act, the defendant {{parties.defendant}} owes {{loan.paid_out}}.{{end}}

{{write: whether the defendant has said why the loan was not repaid}}

## Decision

The defendant {{parties.defendant}} shall pay the plaintiff {{parties.plaintiff}} {{loan.paid_out}} with interest of \
{{loan.rate}} a year from {{loan.due}}.
"""
_LAW_ZH = {
    "小额借贷条例 2018-06-01.txt": """小额借贷条例

第一条 借款合同应当采用书面形式，由借款人签字。
第二条 借款的年利率不得超过百分之三十六。
第三条 出借人不得预先在本金中扣除利息。预先扣除的，借款人按照实际收到的数额返还本金。
第四条 借款人未按期返还借款的，应当按照约定的利率支付逾期利息。
""",
    "小额借贷条例 2023-01-01.txt": """小额借贷条例

第一条 借款合同应当采用书面形式，由借款人签字。
第二条 借款的年利率不得超过百分之二十四。
第三条 出借人不得预先在本金中扣除利息。预先扣除的，借款人按照实际收到的数额返还本金。
第四条 借款人未按期返还借款的，应当按照约定的利率支付逾期利息。
出借人可以请求借款人承担诉讼费用。
第五条 本条例自2023年3月1日起施行。
""",
}
_FACTS_ZH = {
    "date": "2024-03-05",
    "case": {"number": "（2025）示例民初17号", "court": "示例区人民法院"},
    "parties": [{"role": "原告", "name": "林安"}, {"role": "被告", "name": "陈默"}],
    "loan": {"signed": "2024年3月5日", "due": "2024年9月5日", "principal": "12000元", "paid_out": "11400元",
             "deducted": "600元", "rate": "百分之十"},
}  # fmt: skip
_TEMPLATE_ZH = """# 民事判决书（草稿）{{case.number}}

{{case.court}}。原告：{{parties.原告}}。被告：{{parties.被告}}。

## 事实

{{loan.signed}}，原告{{parties.原告}}与被告{{parties.被告}}签订借款合同，约定借款{{loan.principal}}，年利率{{loan.rate}}，\
{{loan.due}}到期。{{if \
loan.deducted}}原告{{parties.原告}}预先扣除利息{{loan.deducted}}，实际支付{{loan.paid_out}}。{{end}}

## 法律

{{law: 小额借贷条例 | 第二条}}
{{law: 小额借贷条例 | 第三条}}
{{law: 小额借贷条例 | 第四条}}

## 理由

本案约定的年利率{{loan.rate}}没有超过《小额借贷条例》第二条规定的上限。{{if \
loan.deducted}}根据《小额借贷条例》第三条，被告\
{{parties.被告}}应当返还的本金为{{loan.paid_out}}。{{end}}

{{write: 被告对未按期还款的解释}}

## 判决

被告{{parties.被告}}应当向原告{{parties.原告}}返还{{loan.paid_out}}，并自{{loan.due}}起按年利率{{loan.rate}}支付逾期利息。
"""


@dataclass(frozen=True, slots=True)
class ExamplePaths:
    """Where the example's files are."""

    facts: Path
    corpus: Path
    template: Path


def write_example(folder: Path, *, chinese: bool) -> ExamplePaths:
    """Write facts, laws and template into a folder."""
    laws, facts, template = (_LAW_ZH, _FACTS_ZH, _TEMPLATE_ZH) if chinese else (_LAW_EN, _FACTS_EN, _TEMPLATE_EN)
    corpus = folder / "laws"
    corpus.mkdir(parents=True, exist_ok=True)
    for name, text in laws.items():
        (corpus / name).write_text(text, encoding="utf-8")
    paths = ExamplePaths(folder / "facts.json", corpus, folder / "template.txt")
    paths.facts.write_text(json.dumps(facts, ensure_ascii=False, indent=2), encoding="utf-8")
    paths.template.write_text(template, encoding="utf-8")
    return paths
