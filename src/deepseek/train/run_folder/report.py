"""The page of a run: what came out in one sentence, its figures, its curves, its settings, where it comes from.

write_report(out / "report.html", record, curves)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deepseek import look
from deepseek.files import atomic_file
from deepseek.look import Column, Html, Line, Section, Text, Words, numbers
from deepseek.look.figures import metric_title
from deepseek.train.run_folder.curves import Curves, Point
from deepseek.train.run_folder.record import RunRecord

EPOCH, STEP = Text("epoch", "轮次"), Text("step", "步数")
TRAINING, VALIDATION = Text("training", "训练"), Text("validation", "验证")
#: What is logged by step: its name, its title, and the label of its axis.
STEP_PLOTS = (
    ("train/lr", Text("Learning rate", "学习率"), Text("learning rate", "学习率")),
    ("train/rows_per_s", Text("Throughput", "吞吐量"), Text("rows a second", "每秒行数")),
    ("train/grad_norm", Text("Norm of the gradient", "梯度范数"), Text("norm before clipping", "裁剪前的范数")),
)
MIN_POINTS = 2  # of a curve


def write_report(path: Path, record: RunRecord, curves: Curves) -> None:
    """Write the page of a finished run to `path`."""
    with atomic_file(path) as part:
        part.write_text(render_report(record, curves), encoding="utf-8")


def render_report(record: RunRecord, curves: Curves) -> str:
    """One offline page, in English and Chinese, of a record that has its report."""
    report = record.report or {}
    metrics = {name: figure["value"] for name, figure in report["metrics"].items()}
    sections = [
        Section(Text("Figures", "指标"), _figure_table(metrics, curves)),
        Section(Text("Curves", "曲线"), Html("".join(_plots(curves)))),
        *([Section(Text("Warnings", "警告"), look.bullet_list(report["warnings"]))] if report["warnings"] else []),
        Section(Text("Settings", "设置"), _settings(record.job), folded=True),
    ]
    return look.page(
        Text("Training run", "训练记录"), _answer(report, metrics), sections, provenance=_provenance(record)
    )


def metric_words(name: str) -> Text:
    """A figure of a run in words.

    >>> metric_words("val_loss").en, metric_words("val_accuracy").zh
    ('Validation loss', '验证：准确率')
    """
    if name == "train_loss":
        return Text("Training loss", "训练损失")
    if name == "val_loss":
        return Text("Validation loss", "验证损失")
    title = metric_title(name.removeprefix("val_"))
    return Text(f"Validation: {title.en}", f"验证：{title.zh}")


def _answer(report: Mapping[str, Any], metrics: Mapping[str, float]) -> Text:
    name = next(iter(sorted(metrics, key=lambda name: not name.startswith("val_"))), None)
    if name is None:  # a private run without validation rows
        return Text(f"{report['model']}: trained, nothing measured.", f"{report['model']}：已训练，未作测量。")
    words, value = metric_words(name), numbers.number(metrics[name])
    epochs, steps = numbers.count(report["num_epochs"]), numbers.count(report["num_steps"])
    early = Text(", stopped early", "，提前停止") if report["stopped_early"] else Text("", "")
    return Text(
        f"{report['model']}: {words.en.lower()} {value} after {epochs} epochs, {steps} steps{early.en}.",
        f"{report['model']}：{epochs} 轮、{steps} 步后，{words.zh} {value}{early.zh}。",
    )


def _figure_table(metrics: Mapping[str, float], curves: Curves) -> Html:
    """The figure at the end of each metric, beside the least and the largest of all epochs."""
    rows: list[list[Words | float | None]] = []
    for name, value in metrics.items():
        points = curves.by_epoch(name)
        least, largest = (choose(points, key=lambda point: point[1]) if points else None for choose in (min, max))
        rows.append([metric_words(name), numbers.number(value), _at_epoch(least), _at_epoch(largest)])
    columns = [
        Column("", "text"), Column(Text("at the end", "结束时")), Column(Text("least", "最小")),
        Column(Text("largest", "最大")),
    ]  # fmt: skip
    return look.table(columns, rows, data={"metrics": dict(metrics)})


def _at_epoch(point: Point | None) -> Words | None:
    if point is None:
        return None
    epoch, value = int(point[0]), numbers.number(point[1])
    return Text(f"{value} (epoch {epoch})", f"{value}（第 {epoch} 轮）")


def _plots(curves: Curves) -> list[Html]:
    losses = [Line(TRAINING, curves.by_epoch("train_loss")), Line(VALIDATION, curves.by_epoch("val_loss"))]
    plots = [_plot(losses, Text("Loss", "损失"), EPOCH, Text("mean loss of a row", "每行平均损失"))]
    plots += [
        _plot([Line("", curves.by_epoch(name))], metric_words(name), EPOCH, metric_words(name))
        for name in curves.metrics()
    ]
    plots += [_plot([Line("", curves.by_step(name))], title, STEP, label) for name, title, label in STEP_PLOTS]
    return plots


def _plot(lines: Sequence[Line], title: Text, x_label: Text, y_label: Text) -> Html:
    """One plot with its data, or in words why there is none."""
    drawn = [line for line in lines if len(line.points) >= MIN_POINTS]
    if not drawn:
        what = Text(f"{title.en}: no curve.", f"{title.zh}：没有曲线。")
        why = Text(f"It takes {MIN_POINTS} points, and there are fewer.", f"至少需要 {MIN_POINTS} 个点，而记录不足。")
        per_step = x_label is STEP
        do = Text("Log more often: train.log_every = 1.", "更频繁地记录：train.log_every = 1。") if per_step else ""
        return look.empty_state(what, why, do)
    data = {look.words.english(line.name) or "values": line.points for line in drawn}
    return look.figure(look.progress, drawn, title=title, x_label=x_label, y_label=y_label, data=data)


def _settings(job: Mapping[str, Any]) -> Html:
    """Every setting of the job by its dotted name."""
    rows: list[list[Words]] = []
    for section, value in job.items():
        named = value if isinstance(value, Mapping) else {"": value}
        for key, setting in named.items():
            name = ".".join(part for part in (section, key) if part)
            rows.append([name, str(setting)])
    return look.table([Column(Text("setting", "设置"), "text"), Column(Text("value", "取值"), "text")], rows)


def _provenance(record: RunRecord) -> dict[Words, Words | Html]:
    report = record.report or {}
    return {
        Text("weights", "权重"): f"{Path(str(report['weights'])).name}, {numbers.size(report['size_bytes'])}",
        Text("digest", "摘要"): str(report["digest"]),
        Text("seed", "随机种子"): str(report["seed"]),
        Text("wall time", "用时"): numbers.duration(report["wall_s"]),
        Text("torch", "torch"): str(report["versions"]["torch"]),
        Text("command", "命令"): look.command(record.command) if record.command else "",
    }
