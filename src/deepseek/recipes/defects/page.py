"""The report of a detector of defects: the answer, the worst misses first, heat maps, confusion, promise, light."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deepseek import look
from deepseek.automl.detection.fit import DetectionResult
from deepseek.automl.detection.measure import PictureResult
from deepseek.data.labels.labeled_picture import LabeledPicture
from deepseek.data.labels.pictures import PictureStore, fit_reader
from deepseek.look import Column, Html, Section, Text, Words, numbers
from deepseek.look.words import escape, inline
from deepseek.nn.detector.boxes import overlaps
from deepseek.recipes.defects.drawing import STYLE, boxes_over, heat_picture
from deepseek.train.detect.miss_bound import num_parts_needed

MOST_MISSES, MOST_ALARMS, MOST_FOUND = 12, 8, 8


def render_page(result: DetectionResult, name: str) -> str:
    """The page; `name` is that of the data."""
    store = PictureStore(result.pictures, fit_reader(result.pictures, [each.file for each in result.results]))
    seen = (
        Section(Text("Defects that were found", "检出的缺陷"), _show_found(result, store), id="found")
        if result.figures.num_defective
        else Section(Text("Good parts, hottest first", "良品（得分高的在前）"), _show_good(result, store), id="good")
    )
    sections = [
        Section(Text("Worst misses first", "漏检最严重的在前"), _misses(result, store), id="misses"),
        Section(Text("Good parts called defective", "误报的良品"), _alarms(result, store), id="alarms"),
        seen,
        Section(Text("Figures", "指标"), _figures(result), id="figures"),
        Section(Text("What is promised of missed parts", "对漏检的承诺"), _promise(result), id="promise"),
        Section(Text("Light", "光照"), _describe_light(result), id="light"),
    ]
    return look.page(
        Text("Defects on parts", "零件缺陷"), _answer(result), sections, style=STYLE, lead=_lead(result),
        provenance=_provenance(result, name),
    )  # fmt: skip


def _answer(result: DetectionResult) -> Text:
    figures = result.figures
    good = figures.num_pictures - figures.num_defective
    if not figures.num_defective:
        return Text(
            f"{figures.num_false_alarms} of {good} held good parts are called defective; how many defects would be "
            "missed is not known.",
            f"在 {good} 个留出的良品中误报 {figures.num_false_alarms} 个；漏检率未知。",
        )
    return Text(
        f"{figures.num_missed} of {figures.num_defective} held defective parts are missed, "
        f"{figures.num_false_alarms} of {good} good ones called defective.",
        f"留出的 {figures.num_defective} 个缺陷件漏检 {figures.num_missed} 个，"
        f"{good} 个良品误报 {figures.num_false_alarms} 个。",
    )


def _lead(result: DetectionResult) -> Text:
    en, zh = [], []
    if (precision := result.figures.precision) is not None:
        value = numbers.figure(precision.mean.value, precision.mean.low, precision.mean.high)
        en.append(f"Mean average precision at overlap {precision.min_overlap:g}: {value}.")
        zh.append(f"重叠度 {precision.min_overlap:g} 下的 mAP：{value}。")
    if (parts := result.figures.parts) is not None:
        value = numbers.figure(parts.auc.value, parts.auc.low, parts.auc.high)
        en.append(f"AUC of parts: {value}.")
        zh.append(f"零件级 AUC：{value}。")
    return Text(" ".join(en) or "Learned from good parts alone.", "".join(zh) or "仅从良品学习。")


def _sort_parts(
    result: DetectionResult, *, defective: bool, caught: bool, rising: bool
) -> list[tuple[LabeledPicture, PictureResult]]:
    """Held pictures of one kind, by their scores."""
    threshold = result.config.threshold
    rows = [
        (labeled, seen)
        for labeled, seen in zip(result.split.held.pictures, result.results, strict=True)
        if labeled.is_defective == defective and (seen.inspection.score >= threshold) == caught
    ]
    return sorted(rows, key=lambda row: row[1].inspection.score if rising else -row[1].inspection.score)


def _worst_boxes(result: DetectionResult) -> list[tuple[LabeledPicture, PictureResult]]:
    """Pictures that were caught, with a labelled box that no answer meets: the most such boxes first."""
    rows = []
    for labeled, seen in _sort_parts(result, defective=True, caught=True, rising=True):
        sure = seen.inspection.boxes.above(result.config.box_threshold)
        best = overlaps(labeled.boxes, sure.boxes).max(1, initial=0.0)
        if num := int((best < 0.3).sum()):
            rows.append((num, (labeled, seen)))
    return [row for _, row in sorted(rows, key=lambda row: -row[0])]


def _misses(result: DetectionResult, store: PictureStore) -> Html:
    if not result.figures.num_defective:
        return look.empty_state(
            Text("No held part is defective: misses are not known.", "留出的零件中没有缺陷件：漏检未知。"),
            do=Text("deepseek evaluate tells them of labelled parts.", "可用 deepseek evaluate 在有标注的零件上测得。"),
        )
    missed = _sort_parts(result, defective=True, caught=False, rising=True)
    boxes = _worst_boxes(result) if result.config.method != "patches" else []
    if not missed and not boxes:
        return look.empty_state(
            Text("No held part is missed, and no box.", "留出的零件和标注框均无漏检。"),
            Text("Held pictures were never trained on.", "留出的图片未参与训练。"),
        )
    parts = []
    if missed:
        parts.append(_gallery(result, store, missed[:MOST_MISSES]))
    if boxes:
        words = Text(
            f"{len(boxes)} parts were caught, and some of their boxes were not: the most first.",
            f"有 {len(boxes)} 个零件被检出，但部分标注框漏检：最多的在前。",
        )
        parts += [look.paragraph(words), _gallery(result, store, boxes[: MOST_MISSES - len(missed[:MOST_MISSES]) or 4])]
    return Html("".join(parts))


def _alarms(result: DetectionResult, store: PictureStore) -> Html:
    rows = _sort_parts(result, defective=False, caught=True, rising=False)
    if rows:
        return _gallery(result, store, rows[:MOST_ALARMS])
    num = result.figures.num_pictures - result.figures.num_defective
    if num:
        return look.empty_state(Text(f"None of {num} held good parts.", f"{num} 个留出的良品均无误报。"))
    return look.empty_state(
        Text("No held part is good: false alarms are not known.", "留出的零件中没有良品：误报率未知。"),
        do=Text("Add pictures of good parts to the folder.", "请在文件夹中加入良品图片。"),
    )


def _show_found(result: DetectionResult, store: PictureStore) -> Html:
    rows = _sort_parts(result, defective=True, caught=True, rising=False)
    if not rows:
        return look.empty_state(Text("None.", "无。"))
    return _gallery(result, store, rows[:MOST_FOUND])


def _show_good(result: DetectionResult, store: PictureStore) -> Html:
    """Good parts that were let through: what they look like to the model."""
    rows = _sort_parts(result, defective=False, caught=False, rising=False)
    if not rows:
        return look.empty_state(Text("None.", "无。"))
    return _gallery(result, store, rows[:MOST_FOUND])


def _gallery(
    result: DetectionResult, store: PictureStore, rows: Sequence[tuple[LabeledPicture, PictureResult]]
) -> Html:
    """Each part with its boxes and its heat map."""
    cells = []
    for labeled, seen in rows:
        picture = store.read(labeled.file)
        sure = seen.inspection.boxes.above(result.config.box_threshold)
        title = Text(f"{labeled.file} with boxes", f"{labeled.file} 及方框")
        drawn = boxes_over(picture, labeled.boxes, sure, result.config.classes, title=title)
        heat = (
            f'<img src="{heat_picture(picture, seen.inspection.heat)}" alt="{escape("heat map of " + labeled.file)}">'
        )
        score = numbers.number(seen.inspection.score)
        kind = labeled.picture_class
        words = Text(
            f"{labeled.file}: score {score}" + (f", {kind}" if kind else ", good"),
            f"{labeled.file}：得分 {score}" + (f"，{kind}" if kind else "，良品"),
        )
        cells.append(f'<figure><div class="pair">{drawn}{heat}</div><figcaption>{inline(words)}</figcaption></figure>')
    note = Text("Dashed: labelled. Solid: found. Beside it the heat map.", "虚线：标注；实线：检出；旁边为热力图。")
    return Html(f'{look.paragraph(note, note=True)}<div class="parts">{"".join(cells)}</div>')


def _figures(result: DetectionResult) -> Html:
    figures = result.figures
    if figures.precision is None or figures.matches is None:
        return look.empty_state(Text("No box is labelled, so none is judged.", "没有标注框，无法评判。"))
    matches = figures.matches
    facts: dict[Words, Words] = {
        Text("Boxes found (recall)", "召回率"): numbers.number(matches.recall),
        Text("Boxes that are right (precision)", "精确率"): numbers.number(matches.precision),
        Text("F score", "F 值"): numbers.number(matches.f_score),
        Text("Threshold of a box", "方框阈值"): numbers.number(result.config.box_threshold),
    }
    held = result.split.held
    counts = {name: sum(each.classes.count(name) for each in held.pictures) for name in held.classes}
    rows: list[list[str | int]] = [
        [name, numbers.number(ap), counts[name]] for name, ap in figures.precision.by_class.items()
    ]
    columns = [
        Column(Text("Class", "类别"), "text"), Column(Text("Average precision", "平均精度")),
        Column(Text("Labelled boxes", "标注框数")),
    ]  # fmt: skip
    labels: list[Words] = [*held.classes, Text("nothing", "无")]
    drawing = look.figure(
        look.confusion_matrix, labels, matches.confusion.tolist(), title=Text("Confusion by class", "类别混淆"),
        caption=Text(
            "The last column: labelled boxes that nothing met. The last row: answers where nothing is labelled.",
            "最后一列：漏检的标注框；最后一行：没有标注处的检出。",
        ),
    )  # fmt: skip
    return Html(look.facts(facts) + look.table(columns, rows) + drawing)


def _promise(result: DetectionResult) -> Html:
    bound, figures = result.bound, result.figures
    if bound is not None:
        rate, sure = f"{100 * bound.max_miss:g}", f"{100 * bound.confidence:g}"
        words = Text(
            f"At most {rate} % of defective parts are missed, at a confidence of {sure} %: {bound.num_missed} of "
            f"{bound.num_defective} held ones score below the threshold.",
            f"置信度 {sure} % 下漏检率不超过 {rate} %："
            f"{bound.num_defective} 个留出缺陷件中有 {bound.num_missed} 个低于阈值。",
        )
        note = Text(
            "It holds for parts like the held ones, made and lit alike: not for another line, and not for new kinds of "
            "defects.",
            "仅适用于与留出件同样工艺、同样光照的零件，不适用于其他产线或新的缺陷类型。",
        )
        return Html(look.verdict("good", words) + look.paragraph(note, note=True))
    confidence = result.options.confidence
    rows: list[list[str | int]] = [
        [f"{100 * share:g} %", num_parts_needed(share, confidence), num_parts_needed(share, confidence, 1)]
        for share in (0.05, 0.01, 0.003, 0.001)
    ]
    columns = [
        Column(Text("Missed at most", "漏检率上限")),
        Column(Text("Held defective parts, none missed", "所需缺陷件（零漏检）")),
        Column(Text("One missed", "允许漏检一个")),
    ]  # fmt: skip
    words = Text(
        f"Nothing is promised: there are {figures.num_defective} held defective parts. What a promise at "
        f"{100 * confidence:g} % would need:",
        f"未作承诺：留出的缺陷件有 {figures.num_defective} 个。在 {100 * confidence:g} % 置信度下作出承诺所需：",
    )
    return Html(look.paragraph(words) + look.table(columns, rows))


def _describe_light(result: DetectionResult) -> Html:
    low, high = result.config.light
    values = np.array([each.brightness for each in result.results])
    outside = int(((values < low) | (values > high)).sum())
    return look.paragraph(
        Text(
            f"Mean brightness of the training pictures: {low:.0f} to {high:.0f} of 255. {outside} of {len(values)} "
            "held pictures lie outside. deepseek predict warns when new ones do.",
            f"训练图片的平均亮度为 {low:.0f} 至 {high:.0f}（满值 255）。"
            f"{len(values)} 张留出图片中有 {outside} 张超出范围。"
            "新图片超出时 deepseek predict 会警告。",
        )
    )


NETS_NAME = Text("Nets that answer together", "共同回答的网络数")
JOINED_NAME = Text("Classes of pictures", "图片类别")
JOINED = Text(
    "by the net, and by a linear classifier on the weights that it started from",
    "由网络及其起始权重上的线性分类器共同判断",
)


def _provenance(result: DetectionResult, name: str) -> dict[Words, Words | Html]:
    is_averaged, is_joined = (bool(result.training.get(name)) for name in ("tta", "frozen_classifier"))
    num_nets = int(result.training.get("ensemble", 1))
    return {
        Text("Pictures", "图片"): name,
        Text(
            "Trained on, held", "训练与留出"
        ): f"{len(result.split.train.pictures)}, {len(result.split.held.pictures)}",
        Text("Method", "方法"): result.config.method,
        Text("Started from", "起点"): str(result.training.get("trunk", "random weights")),
        Text("Test-time augmentation", "测试时增强"): Text("yes", "是") if is_averaged else Text("no", "否"),
        **({NETS_NAME: str(num_nets)} if num_nets > 1 else {}),
        **({JOINED_NAME: JOINED} if is_joined else {}),
        Text("Digest", "摘要"): result.bundle.digest,
        Text("Seed", "种子"): str(result.options.seed),
        Text("Command", "命令"): look.command(result.options.command or "deepseek recipe defects"),
    }
