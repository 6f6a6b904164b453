"""The HTML page of a study: the answer, what to try next and why, the way so far, gain and risk, slices of the surface,
the front of several objectives, every trial, and where it comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from deepseek import look
from deepseek.automl.study.definition import Constraint, Objective
from deepseek.automl.study.outlook import Forecast, Slice
from deepseek.automl.study.space import Value
from deepseek.automl.study.trials import Trial
from deepseek.look import Column, Html, Section, Text, Words, numbers
from deepseek.look.tables import Cell
from deepseek.recipes.process.verbs import StudyReport

LIKELY = 0.95
#: Why a trial was proposed, by the word in the log.
REASONS = {
    "start": Text("the recipe that is known to hold", "已知可行的配方"),
    "transfer": Text("the best recipe of another line", "另一条产线的最佳配方"),
    "spread": Text("to see how the settings matter", "了解各参数的影响"),
    "improve": Text("the largest expected improvement within the limits", "限值之内预期改进最大"),
    "feasible": Text("the best chance to hold every limit", "最有可能满足全部限值"),
    "safe": Text("the largest expected improvement that keeps to the risk", "在允许风险内预期改进最大"),
    "repeat": Text("the best so far again: nothing else is safe enough yet", "重复目前最佳：暂无其他足够安全的配方"),
}
STATES = {
    "pending": Text("open", "待测"), "done": Text("measured", "已测"), "failed": Text("failed", "失败"),
    "history": Text("history", "历史"), "withdrawn": Text("withdrawn", "已撤回"),
}  # fmt: skip


def render_page(report: StudyReport) -> str:
    """The page, as a file."""
    return page_of(report)


def page_of(
    report: StudyReport, first: Sequence[Section] = (), *, style: str = "", script: str = "", connect: bool = False
) -> str:
    """The page, with other sections before its own, as `look.page` takes them."""
    sections = [*first, Section(Text("What to try next", "下一步试什么"), _next_body(report), id="next")]
    measured = [trial for trial in report.trials if trial.is_measured]
    if measured:
        sections.append(Section(Text("The way so far", "至今的进展"), _progress_body(report, measured), id="progress"))
        sections.append(Section(Text("Gain and risk", "收益与风险"), _risk_body(report), id="risk"))
    if report.outlook.slices:
        sections.append(Section(Text("What each setting does", "各参数的作用"), _slices_body(report), id="slices"))
    if len(report.definition.objectives) > 1 and report.outlook.front:
        sections.append(Section(Text("The front", "前沿"), _front_body(report), id="front"))
    if report.trials:
        sections.append(
            Section(Text("All trials", "全部试验"), _trials_table(report, report.trials), folded=True, id="trials")
        )
    title = report.definition.name or report.study.name
    return look.page(
        Text(f"Study of {title}", f"{title} 研究"), _answer(report), sections, lead=_lead(report),
        provenance=_provenance(report), style=style, script=script, connect=connect,
    )  # fmt: skip


def _answer(report: StudyReport) -> Text:
    best, baseline, objective = report.outlook.best, report.outlook.baseline, report.definition.objectives[0]
    if best is None:
        return Text("No trial holds every limit yet.", "尚无满足全部限值的试验。")
    value = _with_unit(best.values[objective.name], objective)
    if baseline is None or baseline.number == best.number or report.outlook.gain is None:
        return Text(f"The best so far is trial {best.number}: {value}.", f"目前最佳为试验 {best.number}：{value}。")
    gain, start = _with_unit(report.outlook.gain, objective), _with_unit(baseline.values[objective.name], objective)
    return Text(
        f"{objective.name} is {value} in trial {best.number}: {gain} better than {start} at the start.",
        f"试验 {best.number} 的 {objective.name} 为 {value}，比起始值 {start} 改进 {gain}。",
    )


def _lead(report: StudyReport) -> Text:
    left, cost = report.outlook.left, report.definition.cost
    if left is None:
        return Text("Too little is measured to say what more can be gained.", "测量太少，尚无法判断还能改进多少。")
    objective = report.definition.objectives[0]
    expected, high, single = (_with_unit(each, objective) for each in (left.expected, left.high, left.next_trial))
    en = f"Still to be expected: {expected} in all (more than {high} with a chance of 5 %), {single} by the next trial."
    zh = f"预计还可改进：总计 {expected}（有 5 % 的可能超过 {high}），下一次试验 {single}。"
    if left.is_worth_it is None:
        return Text(f"{en} Stop when that is not worth a trial.", f"{zh}若不值一次试验，即可停止。")
    worth, price = f"{left.next_trial * cost.gain:,.0f} {cost.unit}", f"{cost.trial:,.0f} {cost.unit}"
    if left.is_worth_it:
        return Text(
            f"{en} Go on: that is worth {worth}, a trial costs {price}.",
            f"{zh}继续：价值 {worth}，一次试验成本 {price}。",
        )
    return Text(
        f"{en} Stop: that is worth {worth}, a trial costs {price}.", f"{zh}停止：价值 {worth}，一次试验成本 {price}。"
    )


def _next_body(report: StudyReport) -> Html:
    pending = [trial for trial in report.trials if trial.state == "pending"]
    if not pending:
        return Html(
            look.paragraph(Text("No trial is open. Ask for one:", "没有待测试验。请求一个："))
            + look.command(f"deepseek recipe process ask {report.study}")
        )
    shown = Text(
        "The intervals hold nine of ten results, as far as the surfaces are right.",
        "若曲面正确，区间应包含十分之九的结果。",
    )
    parts = [_expectation(report, trial) for trial in pending]
    return Html("".join(parts) + look.paragraph(shown, note=True))


def _expectation(report: StudyReport, trial: Trial) -> Html:
    """One trial as its settings, why it is tried, and what is expected of it."""
    facts: dict[Words, Cell] = {
        _label(parameter.name, parameter.unit): _setting(trial.recipe[parameter.name])
        for parameter in report.definition.parameters
    }
    facts[Text("Why", "原因")] = REASONS.get(trial.reason, trial.reason)
    forecast = report.outlook.forecasts.get(trial.number)
    for each in report.definition.measurements if forecast is not None else ():
        facts[Text(f"{each.name}, expected", f"{each.name}，预计")] = _forecast_words(each, forecast)
    chance = trial.chance if trial.chance is not None else forecast.chance if forecast else None
    if chance is not None:
        facts[Text("Chance that every limit holds", "满足全部限值的概率")] = f"{100 * chance:.1f} %"
    heading = Text(f"Trial {trial.number}", f"试验 {trial.number}")
    return Html(f"<h3>{look.inline(heading)}</h3>{look.facts(facts)}")


def _forecast_words(each: Objective | Constraint, forecast: Forecast | None) -> str:
    if forecast is None:
        return numbers.UNKNOWN
    words = numbers.figure(*forecast.values[each.name], unit=each.unit)
    return f"{words} {_limit_words(each)}" if isinstance(each, Constraint) else words


def _limit_words(constraint: Constraint) -> str:
    return f"(≤ {constraint.most:g})" if constraint.most is not None else f"(≥ {constraint.least:g})"


def _progress_body(report: StudyReport, measured: Sequence[Trial]) -> Html:
    objective, baseline = report.definition.objectives[0], report.outlook.baseline
    holding = [trial for trial in measured if not report.definition.is_broken(trial.values)]
    if not holding:
        return look.empty_state(
            Text("No trial holds every limit.", "尚无满足全部限值的试验。"),
            do=Text("Go on asking: the next trials look for one.", "请继续：之后的试验会寻找可行配方。"),
        )
    return look.figure(
        look.trace, [trial.values[objective.name] for trial in holding],
        title=Text(f"{objective.name} of the trials that hold every limit", f"满足全部限值的试验的 {objective.name}"),
        x_label=Text("trials that hold, in their order", "可行试验（按顺序）"),
        y_label=_label(objective.name, objective.unit),
        minimize=objective.goal == "minimize",
        rival=baseline.values[objective.name] if baseline is not None else None, rival_name=Text("start", "起始"),
    )  # fmt: skip


def _risk_body(report: StudyReport) -> Html:
    outlook, risk, objective = report.outlook, report.outlook.risk, report.definition.objectives[0]
    facts: dict[Words, Cell] = {}
    if outlook.best is not None and outlook.baseline is not None and outlook.gain is not None:
        start = outlook.baseline.values[objective.name]
        gain = _with_unit(outlook.gain, objective)
        share = f"{100 * outlook.gain / abs(start):.1f} %" if start else numbers.UNKNOWN
        from_start = _with_unit(start, objective)
        facts[Text("Gained over the start", "相对起始的收益")] = Text(
            f"{gain}, {share} of {from_start}", f"{gain}，为 {from_start} 的 {share}"
        )
    bad = risk.num_broken + risk.num_failed
    if risk.num_trials:
        share = f"{100 * bad / risk.num_trials:.1f} %"
        facts[Text("Broke a limit or failed", "违反限值或失败")] = Text(
            f"{bad} of {risk.num_trials} trials ({share})", f"{risk.num_trials} 次试验中 {bad} 次（{share}）"
        )
        facts[Text("Upper 95 % bound of that share", "该比例的 95 % 上界")] = f"{100 * risk.high:.1f} %"
    if report.definition.constraints and risk.num_trials:
        facts[Text("Expected to break, by the model", "模型预计违反")] = numbers.number(risk.expected_broken)
    if (safe := report.definition.safe) is not None:
        share = f"{100 * safe.max_broken:g} %"
        facts[Text("May break on average", "平均允许违反")] = Text(
            f"{share} of {safe.trials} trials", f"{safe.trials} 次试验的 {share}"
        )
    return look.facts(facts)


def _slices_body(report: StudyReport) -> Html:
    objective = report.definition.objectives[0]
    words = Text(
        "One setting is changed, the others stay as in the best trial. The band holds nine of ten surfaces.",
        "每次改变一个参数，其余与最佳试验相同。阴影包含十分之九的可能曲面。",
    )
    return Html(look.paragraph(words) + "".join(_slice_figure(each, objective) for each in report.outlook.slices))


def _slice_figure(part: Slice, objective: Objective) -> Html:
    label = _label(objective.name, objective.unit)
    name = _label(part.parameter.name, part.parameter.unit)
    title = Text(f"{objective.name} by {part.parameter.name}", f"{objective.name} 随 {part.parameter.name} 的变化")
    caption = _holding_words(part)
    if part.parameter.is_category:
        figures = list(zip(part.medians, part.lows, part.highs, strict=True))
        return look.figure(look.intervals, part.parameter.choices, figures, title=title, label=label, caption=caption)
    xs = [float(each) for each in part.settings]
    return look.figure(
        look.band, xs, part.medians, part.lows, part.highs, title=title, x_label=name, y_label=label, caption=caption
    )


def _holding_words(part: Slice) -> Words:
    """Where the limits are likely to hold."""
    if not part.chances:
        return ""
    likely = [setting for setting, chance in zip(part.settings, part.chances, strict=True) if chance >= LIKELY]
    if not likely:
        return Text("Nowhere do the limits hold with a chance of 95 %.", "没有任何设置能以 95 % 的概率满足限值。")
    if part.parameter.is_category:
        names = ", ".join(map(str, likely))
        return Text(f"The limits hold with a chance of 95 % for {names}.", f"{names} 以 95 % 的概率满足限值。")
    ends = f"{_setting(likely[0])} – {_setting(likely[-1])} {part.parameter.unit}".strip()
    return Text(f"The limits hold with a chance of 95 % within {ends}.", f"在 {ends} 内以 95 % 的概率满足限值。")


def _front_body(report: StudyReport) -> Html:
    first, second = report.definition.objectives[:2]
    points = [(trial.values[first.name], trial.values[second.name]) for trial in report.outlook.front]
    words = Text(
        "No trial beats one of these in every objective; the choice among them is yours.",
        "没有任何试验能在所有目标上胜过它们；由您在其中选择。",
    )
    drawing = look.figure(
        look.scatter, points, title=Text("The trials of the front", "前沿上的试验"),
        x_label=_label(first.name, first.unit), y_label=_label(second.name, second.unit),
    )  # fmt: skip
    return Html(look.paragraph(words) + drawing + _trials_table(report, report.outlook.front))


def _trials_table(report: StudyReport, trials: Sequence[Trial]) -> Html:
    definition = report.definition
    columns = [Column(Text("Trial", "试验"), "text"), Column(Text("State", "状态"), "text")]
    columns += [Column(_label(each.name, each.unit)) for each in definition.parameters]
    measured = definition.measurements
    columns += [Column(_label(each.name, each.unit)) for each in measured]
    columns.append(Column(Text("Limits", "限值"), "text"))
    rows: list[list[Cell]] = []
    for trial in trials:
        values: list[Cell] = [
            numbers.number(trial.values[each.name]) if trial.is_measured else None for each in measured
        ]
        settings: list[Cell] = [_setting(trial.recipe[each.name]) for each in definition.parameters]
        rows.append([str(trial.number), STATES[trial.state], *settings, *values, _limits_cell(report, trial)])
    return look.table(columns, rows)


def _limits_cell(report: StudyReport, trial: Trial) -> Cell:
    if not trial.is_measured or not report.definition.constraints:
        return ""
    broken = [each.name for each in report.definition.constraints if each.is_broken(trial.values[each.name])]
    if not broken:
        return look.verdict("good", Text("hold", "满足"))
    return look.verdict("bad", Text(f"broken: {', '.join(broken)}", f"违反：{', '.join(broken)}"))


def _provenance(report: StudyReport) -> Mapping[Words, Words | Html]:
    last = max((trial.time for trial in report.trials), default="")
    return {
        Text("Study", "研究"): str(report.study),
        Text("Trials", "试验"): str(len(report.trials)),
        Text("Last told", "最后更新"): last,
        Text("Seed", "随机种子"): str(report.definition.seed),
        Text("Made by", "生成命令"): f"deepseek recipe process report {report.study} --html FILE",
    }


def _label(name: str, unit: str) -> str:
    return f"{name} ({unit})" if unit else name


def _setting(value: Value) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"


def _with_unit(value: float, objective: Objective) -> str:
    return f"{numbers.number(value)} {objective.unit}".strip()
