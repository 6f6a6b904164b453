"""The HTML page of recipes/ct_record.py: leaks, figures on test rows, associations of words and regions. One file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from deepseek import look
from deepseek.contracts import Figure
from deepseek.explain.media.association import association_figure
from deepseek.look import Column, Html, Section, Text, Words, numbers
from deepseek.look.chinese.page_texts import in_both_languages
from deepseek.look.regions import STYLE
from deepseek.recipes.ct_record_findings import Diagnosis, Findings, WithinPositive

if TYPE_CHECKING:
    from deepseek.train.multimodal.align import Retrieval


#: What answers a question within the positive cases, and where a report or a slice is looked for.
_SOURCES = {
    "fused": Text("fused", "融合"), "added": Text("added", "各自结果相加"), "image": Text("image", "图像"),
    "captions": Text("captions", "报告"),
}  # fmt: skip
_PARTS = {"val": Text("val", "验证"), "test": Text("test", "测试")}


def render_page(findings: Findings, name: str, seed: int) -> str:
    """The HTML page of a study; `name` is the data's, `seed` that of the run."""
    auc = findings.diagnosis.test["auc"]
    num_test = findings.diagnosis.num_test
    answer = Text(
        f"From the slice alone the diagnosis has AUC {_interval(auc)} on {num_test} slices of "
        "patients that it has not seen. Not for clinical use.",
        f"仅凭切片诊断，在 {num_test} 张未见过的患者切片上 AUC 为 {_interval(auc)}。不可用于临床。",
    )
    sections = [
        Section(Text("What would have leaked", "泄漏"), _leak_section(findings), id="leaks"),
        Section(
            Text("Diagnosis from the slice alone", "仅凭切片的诊断"),
            _diagnosis_section(findings.diagnosis, findings.warnings),
            id="diagnosis",
        ),
        Section(Text("Reports find slices", "报告与切片互检"), _retrieval_section(findings.retrieval), id="retrieval"),
        Section(
            Text("Slice and report together", "切片与报告融合"), _within_section(findings.within_positive), id="within"
        ),
        Section(Text("Which words look where", "词语与区域的对应"), _example_section(findings), id="association"),
    ]
    weights = look.bullet_list([origin.sentence() for origin in findings.weights], plain=True)
    time = numbers.duration(findings.cost.cpu_s)
    origin: dict[Words, Words | Html] = {
        Text("Data", "数据"): name, Text("Seed", "随机种子"): str(seed),
        Text("Weights of the encoders", "编码器的权重"): Html(weights), Text("CPU time", "CPU 时间"): time,
    }  # fmt: skip
    return look.page(Text("CT slice and record", "CT 切片与病历"), answer, sections, provenance=origin, style=STYLE)


def _leak_section(findings: Findings) -> Html:
    size_auc = numbers.fixed_decimals(findings.size_auc, 2)
    size = Text(
        f"The original size of a picture alone tells the class with AUC {size_auc} (.5 is "
        "chance): positive and negative slices come from different sources. All slices are brought to one size.",
        f"仅凭图像原始尺寸即可区分类别，AUC {size_auc}（0.5 为随机）：阳性与阴性切片来源不同。所有切片统一为同一尺寸。",
    )
    statements: list[Words | Html] = [look.verdict("warn", size)]
    statements += [
        look.verdict("bad" if leak.level == "refuse" else "warn", in_both_languages(leak.message))
        for leak in findings.presence
    ]
    kept = Text("None of these columns is an input of the diagnosis.", "诊断不使用上述任何一列。")
    return Html(look.bullet_list(statements, plain=True) + look.paragraph(kept))


def _diagnosis_section(diagnosis: Diagnosis, notes: Sequence[str]) -> Html:
    parts = [(Text("validation", "验证"), diagnosis.validation), (Text("test", "测试"), diagnosis.test)]
    rows: list[list[Words]] = [
        [name, _interval(figures["auc"]), _interval(figures["accuracy"])] for name, figures in parts
    ]
    columns = [_text_column("rows", "数据"), Column("AUC"), Column(Text("accuracy at .5", "0.5 处准确率"))]
    table = look.table(columns, rows)
    threshold = numbers.fixed_decimals(diagnosis.threshold, 2)
    accuracy = numbers.fixed_decimals(diagnosis.accuracy_at_threshold, 3)
    note = Text(
        f"Encoder: {diagnosis.encoder}. At the threshold {threshold} of validation, accuracy "
        f"{accuracy} on test rows. Intervals of 95 % by bootstrap over slices; "
        "those of one patient are alike, so they are too narrow.",
        f"编码器：{_encoder_zh(diagnosis.encoder)}。验证集阈值 {threshold} 下测试准确率 "
        f"{accuracy}。95 % 区间按切片自助法；同一患者切片相似，故偏窄。",
    )
    warnings = [look.paragraph(look.verdict("warn", in_both_languages(text)), note=True) for text in notes]
    return Html(table + look.paragraph(note, note=True) + "".join(warnings))


def _retrieval_section(retrieval: Mapping[str, Retrieval]) -> Html:
    rows: list[list[Words]] = []
    for part in ("val", "test"):
        for direction, recall in retrieval[part].recall.items():
            chance = retrieval[part].chance[direction]
            cells = [f"{numbers.fixed_decimals(recall[k], 2)} ({numbers.fixed_decimals(chance[k], 2)})" for k in recall]
            rows.append([_direction_words(part, direction), *cells])
    ks = list(next(iter(retrieval["test"].recall.values())))
    columns = [_text_column("rows and direction", "数据与方向"), *(Column(f"R@{k}") for k in ks)]
    note = Text(
        "In brackets: by chance. Each distinct report and slice of the part is a candidate; patients are on one side "
        "of the split alone, and reports that stand in training rows, too, are left out.",
        "括号内为随机水平。该部分中每个不同的报告与切片均为候选；同一患者只在一侧，训练行中出现过的报告已剔除。",
    )
    return Html(look.table(columns, rows) + look.paragraph(note, note=True))


def _within_section(within: WithinPositive) -> Html:
    rows: list[list[Words]] = [[_SOURCES.get(name, name), _interval(auc)] for name, auc in within.auc.items()]
    table = look.table([_text_column("answer of", "答案来源"), Column("AUC")], rows)
    note = Text(
        f"Question: {within.question}; {within.num_train} training and {within.num_test} test rows. The report "
        "often says it in words, so this shows that the fusion trusts the report, and nothing about slices.",
        f"问题：阳性病例的性别；训练 {within.num_train} 行，测试 {within.num_test} 行。报告常直接写明，"
        "故此处仅说明融合会信任报告，不说明切片。",
    )
    return Html(table + look.paragraph(note, note=True))


def _example_section(findings: Findings) -> Html:
    how = Text(
        "Shaded is what the fit of slice and report loses when a word and a region are hidden together, beyond what it "
        "loses with each alone. Left: where the sentence looks that needs the slice most. Right: the words that the "
        "framed region looks at. It tells what both share for the retrieval, not why a diagnosis was made.",
        "阴影表示同时隐藏词语与区域时，切片与报告匹配度超出各自单独隐藏之和的损失。左：最依赖切片的句子所看之处。"
        "右：加框区域所看的词语。它说明检索中二者的共同之处，而非诊断原因。",
    )
    figures = [
        association_figure(
            record.pixels, record.text, record.spans, record.interaction,
            title=Text(f"slice of row {record.row}", f"第 {record.row} 行切片"),
        )
        for record in findings.examples
    ]  # fmt: skip
    return Html(look.paragraph(how, note=True) + "".join(figures))


def _encoder_zh(encoder: str) -> str:
    return "小型网络" if encoder == "small" else encoder


def _direction_words(part: str, direction: str) -> Words:
    """ "val", "captions -> image" in words."""
    ends = [_SOURCES.get(end, Text(end, end)) for end in direction.split(" -> ")]
    zh = " → ".join(end.zh for end in ends)
    return Text(f"{part}: {direction}", f"{_PARTS[part].zh}：{zh}")


def _text_column(en: str, zh: str) -> Column:
    return Column(Text(en, zh), "text")


def _interval(figure: Figure) -> str:
    value, low, high = (numbers.fixed_decimals(number, 3) for number in (figure.value, figure.low, figure.high))
    return f"{value} [{low}, {high}]"
