"""The page of a certificate, to be read and printed: whom it is of, what was passed, and how to verify it."""

from __future__ import annotations

from deepseek import look
from deepseek.learn.certificates.credential import Claim
from deepseek.learn.certificates.review import read_review
from deepseek.learn.definition.catalog import Catalog
from deepseek.look import Column, Section, Text
from deepseek.look.tables import Cell


def certificate_page(claim: Claim, catalog: Catalog, public_key: str, file_name: str) -> str:
    """HTML in one file. The page proves nothing: the JSON beside it does."""
    level, labs = catalog.levels[claim.level], {lab.id: lab for lab in catalog.labs}
    hours = sum(labs[each.lab].table.hours for each in claim.labs if each.lab in labs)
    day = claim.issued[:10]
    answer = Text(
        f"{claim.holder} has passed the level “{level.title.en}”.", f"{claim.holder} 已通过“{level.title.zh}”级别。"
    )
    rows = [
        (
            labs[each.lab].table.title.text if each.lab in labs else each.lab,
            each.score,
            each.num_hints,
            _date(each.time),
        )
        for each in claim.labs
    ]
    columns = [
        Column(Text("Lab", "实验"), "text"), Column(Text("Points of 100", "得分 / 100")),
        Column(Text("Hints read", "提示数")), Column(Text("Passed on", "通过日期"), "text"),
    ]  # fmt: skip
    facts: dict[look.Words, Cell] = {
        Text("Holder", "持有人"): claim.holder,
        Text("Issuer", "颁发者"): claim.issuer_name or Text("named by the key alone", "仅以密钥标识"),
        Text("Issued on", "颁发日期"): day,
        Text("Labs", "实验数"): len(claim.labs),
        Text("Hours of work", "学时"): f"{hours:g}",
        Text("Path as it was on", "课程版本"): claim.path_date,
    }
    for review in map(read_review, claim.reviews):
        facts[Text("Reviewed by", "评审人")] = f"{review.reviewer} ({review.lab}, {review.reviewer_did})"
    verify = [
        look.paragraph(
            Text(
                f"The certificate is the file {file_name}; this page shows it. With the issuer's public key:",
                f"证书是文件 {file_name}；本页仅为展示。用颁发者的公钥校验：",
            )
        ),
        look.command(f"deepseek verify {file_name} --key issuer-key.pub"),
    ]
    sections = [
        Section(Text("What its holder can do", "持有人能做什么"), look.paragraph(level.can.text)),
        Section(Text("What was graded", "评分内容"), look.table(columns, rows)),
        Section(Text("How to verify it", "如何校验"), look.Html("".join(verify))),
    ]
    provenance: dict[look.Words, look.Words | look.Html] = {
        Text("Public key", "公钥"): public_key,
        Text("Form", "格式"): "Open Badges 3.0, eddsa-jcs-2022",
    }
    title = Text("Certificate", "证书")
    return look.page(title, answer, sections, lead=look.facts(facts), provenance=provenance)


def _date(moment: str) -> look.Html:
    """The day of a moment, in one line."""
    return look.Html(f'<span class="option">{look.escape(moment[:10])}</span>')
