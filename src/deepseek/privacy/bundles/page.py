"""A study as a page: what came out, who took part, its rounds and its curves, what left each house.

page = render_study(read_study_page(Path("bundle")))        # of a finished study, by its evidence
page = render_study(read_study_page(Path("study")))         # of a coordinator's study, while it goes on
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from deepseek import look
from deepseek.bundle import open_bundle
from deepseek.bundle.fields import parse_json_object, parse_value
from deepseek.contracts import JsonObject
from deepseek.errors import MissingError
from deepseek.look import Column, Html, Line, Section, Text, Words, numbers
from deepseek.look.figures import metric_title
from deepseek.privacy.bundles.transcript import RoundRecord, Transcript
from deepseek.privacy.study.definition import STUDY_FILE, Study, open_study

STUDY_EVIDENCE, TRANSCRIPT, FEDERATION = "evidence/study.json", "evidence/transcript.json", "evidence/federation.json"
RECORDS, RECORD = "coordinator", "record.json"
ROUND, PARTIES = Text("round", "轮次"), Text("parties", "参与方")
MIN_POINTS = 2
KINDS = {"moments": Text("moments", "矩"), "training": Text("training", "训练"), "figures": Text("figures", "指标")}
#: What leaves a house by the kind of task, as transcript.WHAT_LEAVES has it in English.
CHINESE = {
    "moments": "本方各行输入及其平方的均值",
    "training": "本方若干步之后模型参数的变化；树模型为各箱的平均梯度",
    "figures": "留出行上的计数：行数、正确数、损失，以及按类别的分数直方图",
}


@dataclass(frozen=True, slots=True)
class StudyPage:
    """What a page shows."""

    study: Study
    transcript: Transcript
    is_over: bool
    federation: JsonObject = field(default_factory=dict)  # of a finished study

    @property
    def curves(self) -> Mapping[str, list[float]]:
        """Figures after each training round, of a simulation."""
        curves: Mapping[str, list[float]] = (self.federation.get("comparison") or {}).get("curves") or {}
        return curves


def read_study_page(folder: Path) -> StudyPage:
    """From a bundle of a study, or from the folder of its coordinator. MissingError for a folder that is neither;
    IntegrityError or InputError for one that is damaged."""
    if (folder / STUDY_FILE).is_file():
        return _of_coordinator(folder)
    if not (folder / "bundle.json").is_file():
        raise MissingError(
            f"{folder} is neither a study nor a bundle", expected="the folder of a study, or the bundle that it made",
            fix="check the path",
        )  # fmt: skip
    bundle = open_bundle(folder)
    if STUDY_EVIDENCE not in bundle.manifest.files:
        raise MissingError(
            f"{folder} is a bundle of no study", expected="one that federate serve or simulate wrote",
            fix="look at it with deepseek inspect",
        )  # fmt: skip
    study: Study = parse_value(Study, parse_json_object(bundle.read(STUDY_EVIDENCE), STUDY_EVIDENCE), STUDY_EVIDENCE)
    top = parse_json_object(bundle.read(TRANSCRIPT), TRANSCRIPT)
    records: tuple[RoundRecord, ...] = tuple(parse_value(RoundRecord, each, TRANSCRIPT) for each in top["records"])
    federation = parse_json_object(bundle.read(FEDERATION), FEDERATION)
    return StudyPage(study, Transcript(str(top["study"]), records), True, federation)


def _of_coordinator(folder: Path) -> StudyPage:
    study = open_study(folder).study
    transcript = Transcript(study.digest)
    paths = sorted((folder / RECORDS).glob(f"[0-9]*/{RECORD}"), key=lambda path: int(path.parent.name))
    for path in paths:
        record: RoundRecord = parse_value(RoundRecord, json.loads(path.read_bytes()), RECORD)
        transcript = transcript.append(record)
    is_over = any(record.kind == "figures" for record in transcript.records)
    return StudyPage(study, transcript, is_over)


def render_study(page: StudyPage) -> str:
    """One offline page, in English and Chinese."""
    figures = page.federation.get("figures") or page.transcript.figures
    sections = [
        Section(Text("Figures", "指标"), _figures(figures, page.federation.get("comparison") or {})),
        Section(Text("Parties", "参与方"), _parties(page)),
        Section(Text("Rounds", "各轮"), Html("".join(_plots(page)))),
        Section(Text("What left each house", "离开各方的内容"), _what_left(page)),
        Section(Text("Every task", "每项任务"), _tasks(page.transcript), folded=True),
        Section(Text("Settings", "设置"), _settings(page.study), folded=True),
    ]
    title = Text(f"Study {page.study.name}", f"研究 {page.study.name}")
    provenance: dict[Words, Words | Html] = {
        Text("study", "研究"): page.study.digest,
        Text("made", "创建时间"): page.study.created,
        Text("transcript", "记录链"): Text("chained", "完整")
        if page.transcript.is_chained()
        else Text("broken", "断裂"),
        Text("last record", "最后一条记录"): page.transcript.last_digest,
    }
    return look.page(title, _answer(page, figures), sections, provenance=provenance)


def _answer(page: StudyPage, figures: Mapping[str, float]) -> Text:
    done, planned = page.transcript.num_training_rounds, page.study.settings.num_training_tasks
    parties, target = len(page.study.parties), page.study.target
    rounds = Text(f"{done} rounds, all of them over", f"共 {done} 轮，均已完成")
    if not page.is_over:
        rounds = Text(f"{done} of {planned} rounds are over", f"已完成 {planned} 轮中的 {done} 轮")
    en = f"{parties} parties learn “{target}”: {rounds.en}"
    zh = f"{parties} 个参与方共同学习“{target}”：{rounds.zh}"
    if figures:
        name = next(iter(sorted(figures)))
        title, value = metric_title(name), numbers.number(figures[name])
        en = f"{en}; {title.en} {value} on rows that they held back"
        zh = f"{zh}；在各方留出的行上，{title.zh}为 {value}"
    return Text(f"{en}.", f"{zh}。")


def _figures(figures: Mapping[str, float], comparison: JsonObject) -> Html:
    """Of the model on the held-out rows; of a simulation beside all data in one place and the parties alone."""
    if not figures and not comparison:
        return look.empty_state(
            Text("There are no figures.", "没有指标。"),
            Text("They come with the last task, and not under a budget.", "指标随最后一项任务产生；有隐私预算时没有。"),
        )
    rows: list[list[Words | float | None]] = []
    together, central = comparison.get("metrics") or {}, comparison.get("central") or {}
    alone = list((comparison.get("alone") or {}).values())
    for name in dict.fromkeys([*figures, *together]):
        own = [each[name] for each in alone if name in each]
        rows.append(
            [
                metric_title(name), _number(figures.get(name)), _number((together.get(name) or {}).get("value")),
                _number((central.get(name) or {}).get("value")), _number(sum(own) / len(own) if own else None),
            ]
        )  # fmt: skip
    columns = [
        Column("", "text"), Column(Text("rows held back", "各方留出的行")), Column(Text("test rows", "测试行")),
        Column(Text("all data in one place", "数据集中在一处")), Column(Text("a party alone", "单独一方")),
    ]  # fmt: skip
    return look.table(columns, rows, data={"figures": dict(figures), "comparison": comparison})


def _number(value: float | None) -> str:
    return "" if value is None else numbers.number(value)


def _parties(page: StudyPage) -> Html:
    sizes, took_part, dropped = page.transcript.bytes_by_party(), Counter[str](), Counter[str]()
    for record in page.transcript.records:
        if record.kind == "training":
            took_part.update(record.parties)
            dropped.update(record.dropped)
    names = [party.name for party in page.study.parties] or sorted(sizes)
    keys = {party.name: party.key for party in page.study.parties}
    rows: list[list[Words | float | None]] = [
        [name, str(took_part[name]), str(dropped[name]), numbers.size(sizes.get(name, 0))] for name in names
    ]
    columns = [
        Column(Text("party", "参与方"), "text"), Column(Text("rounds that count", "计入的轮数")),
        Column(Text("rounds left out", "未计入的轮数")), Column(Text("sent", "发送")),
    ]  # fmt: skip
    if not any(keys.values()):
        note = Text("All parties were simulated in one process.", "所有参与方都在同一进程中模拟。")
        return Html("".join((look.table(columns, rows), look.paragraph(note, note=True))))
    signed = [[*row, keys[name][:16]] for name, row in zip(names, rows, strict=True)]
    return look.table([*columns, Column(Text("key", "密钥"), "text")], signed)


def _plots(page: StudyPage) -> list[Html]:
    training = [record for record in page.transcript.records if record.kind == "training"]
    counts = [(float(place), float(len(record.parties))) for place, record in enumerate(training, 1)]
    sent = [
        (float(place), sum(message.num_bytes for message in record.messages) / 1e3)
        for place, record in enumerate(training, 1)
    ]
    plots = [
        _plot([Line("", list(enumerate(map(float, values), 1)))], metric_title(name), metric_title(name))
        for name, values in page.curves.items()
    ]  # fmt: skip
    return [
        *plots,
        _plot([Line("", counts)], Text("Parties whose update counts", "更新被计入的参与方"), PARTIES),
        _plot([Line("", sent)], Text("What the parties sent", "各方发送的数据量"), Text("kilobytes", "千字节")),
    ]


def _plot(lines: list[Line], title: Text, label: Text) -> Html:
    if any(len(line.points) >= MIN_POINTS for line in lines):
        data: dict[str, Any] = {"values": lines[0].points}
        return look.figure(look.progress, lines, title=title, x_label=ROUND, y_label=label, data=data)
    return look.empty_state(
        Text(f"{title.en}: no curve.", f"{title.zh}：没有曲线。"),
        Text("It takes two rounds, and there are fewer.", "至少需要两轮，而记录不足。"),
    )


def _what_left(page: StudyPage) -> Html:
    protection, budget = page.study.settings.protection, page.study.settings.budget
    secure = protection.secure_sums
    pairs: dict[Words, Words] = {
        Text("the coordinator reads", "协调方能读到"): Text("sums over parties alone", "仅各方之和")
        if secure else Text("the answer of each party", "每一方的回答"),
    }  # fmt: skip
    for kind, what in (page.federation.get("what_left_each_house") or {}).items():
        pairs[KINDS.get(kind, Text(kind, kind))] = Text(str(what), CHINESE.get(kind, str(what)))
    spent = page.federation.get("privacy")
    if spent:
        unit = str(spent["unit"])
        pairs[Text("privacy budget", "隐私预算")] = (
            f"epsilon {spent['epsilon']:.3g}, delta {spent['delta']:g}, of each {unit}"
        )
    elif not budget.noise:
        pairs[Text("privacy budget", "隐私预算")] = Text("none", "无")
    return look.facts(pairs)


def _tasks(transcript: Transcript) -> Html:
    rows: list[list[Words | float | None]] = [
        [
            str(record.task), KINDS.get(record.kind, Text(record.kind, record.kind)), ", ".join(record.parties),
            ", ".join(record.dropped), str(record.attempt + 1), record.digest[:16],
        ]
        for record in transcript.records
    ]  # fmt: skip
    columns = [
        Column(Text("task", "任务"), "text"), Column(Text("kind", "种类"), "text"), Column(PARTIES, "text"),
        Column(Text("left out", "未计入"), "text"), Column(Text("attempts", "尝试次数")),
        Column(Text("digest", "摘要"), "text"),
    ]  # fmt: skip
    return look.table(columns, rows)


def _settings(study: Study) -> Html:
    rows: list[list[Words | float | None]] = [
        [f"{section}.{name}", str(value)]
        for section, values in asdict(study.settings).items()
        for name, value in values.items()
    ]
    return look.table([Column(Text("setting", "设置"), "text"), Column(Text("value", "取值"), "text")], rows)
