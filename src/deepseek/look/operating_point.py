"""An operating point in words: a line for each fact, and what the threshold does not keep. In English and in Chinese.

fact_rows(point)      # [(Text("recall", ...), Text("0.573 [0.529, 0.616], 300 of 524", ...)), ...]
warnings(point)       # the worst first; each says what to do
"""

from __future__ import annotations

from deepseek.look import numbers
from deepseek.look.chinese.page_texts import in_both_languages
from deepseek.look.words import Text, Words, join
from deepseek.operating_point import LEAST_COST, OperatingPoint, Rate, highest_rate_of_none

PER_ROWS = 1_000  # alerts are counted by so many rows where the rows have no dates


def fact_rows(point: OperatingPoint) -> list[tuple[Words, Words]]:
    """The facts of an operating point, a name and a value each: how large, how sure, and by how many rows."""
    name, alerts = numbers.clip(point.label), numbers.count(point.num_alerts)
    start = numbers.number(point.threshold)
    rows: list[tuple[Words, Words]] = [
        (
            Text("threshold", "阈值"),
            Text(f"{name} from a probability of {start} on", f"概率达到 {start} 判为 {name}"),
        ),
        (Text("set by", "设定规则"), rule_words(point)),
        (Text("recall", "召回率"), _rate_words(point.recall, point.num_caught, point.num_positives)),
        (
            Text("false-positive rate", "假阳性率"),
            _rate_words(point.false_positive_rate, point.num_false_alarms, point.num_negatives),
        ),
        (Text("precision", "精确率"), _rate_words(point.precision, point.num_caught, point.num_alerts)),
    ]
    if (per_day := point.alerts_per_day) is not None and point.rows_per_day is not None:
        a_day = numbers.number(point.rows_per_day)
        value = join(_interval(per_day), Text(f" at {a_day} rows a day", f"（每天 {a_day} 行）"))
        rows.append((Text("alerts a day", "每天告警数"), value))
    elif point.alert_share is not None:
        value = join(_interval(point.alert_share.multiply(PER_ROWS)), Text(f", {alerts} in all", f"，共 {alerts} 次"))
        rows.append((Text(f"alerts in {PER_ROWS:,} rows", f"每 {PER_ROWS:,} 行告警数"), value))
    return rows


def rule_words(point: OperatingPoint) -> Words:
    """How the threshold was set."""
    limits: list[Words] = [
        Text(f"a {english} {limit:g}", f"{chinese} {limit:g}")
        for limit, english, chinese in (
            (point.max_fpr, "false-positive rate of at most", "假阳性率不超过"),
            (point.min_recall, "recall of at least", "召回率不低于"),
        )
        if limit is not None
    ]
    if point.max_fpr is not None and point.num_alarms_set is not None:
        limits[0] = join(limits[0], _bound_words(point))
    if (queue := point.max_alerts_per_day) is not None:
        limits.append(Text(f"at most {queue:g} alerts a day", f"每天告警数不超过 {queue:g}"))
    if point.rule.endswith(LEAST_COST):
        limits.append(Text("the least cost", "成本最小"))
    if limits:
        return join(limits[0], *(join(Text(" and ", "，"), limit) for limit in limits[1:]))
    if point.rule == "least expected cost":
        return Text("least expected cost", "期望成本最小")
    return Text(f"no limit: {point.rule}", f"未设限制：{in_both_languages(point.rule).zh}")


def _bound_words(point: OperatingPoint) -> Words:
    """What the bound allowed on the rows that set the threshold."""
    allowed, rows = numbers.count(point.num_alarms_set), numbers.count(point.num_negatives_set)
    return Text(
        f" (the upper end of the 95 % interval of {allowed} alarms in the {rows} rows that set it)",
        f"（设定阈值的 {rows} 行中 {allowed} 次误报的 95 % 区间上端）",
    )


def sentence(point: OperatingPoint) -> Words:
    """The operating point in one sentence, with its rows."""
    name, value = numbers.clip(point.label), numbers.number(point.threshold)
    caught, all_of = numbers.count(point.num_caught), numbers.count(point.num_positives)
    false, others = numbers.count(point.num_false_alarms), numbers.count(point.num_negatives)
    return Text(
        f"From a probability of {value} on it says {name}: it catches {caught} of {all_of}, with {false} false alarms "
        f"in {others} rows",
        f"概率达到 {value} 判为 {name}：{all_of} 个中发现 {caught} 个，{others} 行中误报 {false} 次",
    )


def warnings(point: OperatingPoint) -> list[Text]:
    """What the threshold does not keep, the worst first; each with what to do."""
    return [*_catches_nothing(point), *_too_few_rows(point), *_missed_limits(point)]


def _rate_words(rate: Rate | None, part: int, whole: int) -> Words:
    if rate is None:
        return Text("not measured: no such row", "未测量：没有这样的行")
    counts = f"{numbers.count(part)} of {numbers.count(whole)}"
    return join(_interval(rate), Text(f", {counts}", f"，{numbers.count(whole)} 中的 {numbers.count(part)}"))


def _interval(rate: Rate) -> str:
    return numbers.figure(rate.value, rate.low, rate.high)


def _catches_nothing(point: OperatingPoint) -> list[Text]:
    name, num = numbers.clip(point.label), numbers.count(point.num_positives)
    if not point.num_positives:
        en = f"no test row is {name!r}: what the threshold catches was not measured; test on rows that have some"
        return [Text(en, f"测试数据中没有 {name!r}：无法测量阈值能发现多少；请使用含有该类的测试数据")]
    if point.num_caught:
        return []
    en, zh = f"the threshold catches 0 of {num} rows that are {name!r}", f"{num} 行 {name!r} 中阈值一行也没有发现"
    if point.max_fpr is None:
        en += "; set it by max_fpr, min_recall or costs (--max-fpr, --min-recall, --costs)"
        return [Text(en, zh + "；请用 --max-fpr、--min-recall 或 --costs 设定阈值")]
    limit = f"{point.max_fpr:g}"
    en += f": a false-positive rate of {limit} leaves it nothing; loosen max_fpr (--max-fpr), or bring more rows"
    return [Text(en, zh + f"：假阳性率上限 {limit} 过严；请放宽 --max-fpr，或提供更多数据")]


def _too_few_rows(point: OperatingPoint) -> list[Text]:
    if point.max_fpr is None or point.num_negatives_set is None:
        return []
    needed, least = point.num_negatives_needed, min(point.num_negatives_set, point.num_negatives)
    if needed is not None and least >= needed:
        return []
    name, limit = numbers.clip(point.label), f"{point.max_fpr:g}"
    measured, best = numbers.count(point.num_negatives), numbers.number(highest_rate_of_none(least))
    if needed is None:
        return [
            Text(
                f"no number of rows shows a false-positive rate of {limit}: without one false alarm in {measured} it "
                f"may still be {best}; name a rate above 0",
                f"任何数量的数据都无法证明假阳性率为 {limit}：{measured} 行无误报时，它仍可能为 {best}；"
                "请给出大于 0 的上限",
            )
        ]
    rows, set_on = numbers.count(needed), numbers.count(point.num_negatives_set)
    return [
        Text(
            f"a false-positive rate of {limit} takes {rows} rows that are not {name!r} to show; the threshold was set "
            f"on {set_on} and measured on {measured}: without one false alarm the rate may still be {best}; bring more "
            "rows, or loosen max_fpr (--max-fpr)",
            f"要证明假阳性率不超过 {limit}，需要 {rows} 行非 {name!r} 数据；阈值由 {set_on} 行设定、"
            f"在 {measured} 行上测量：即使没有误报，假阳性率仍可能为 {best}；请提供更多数据，或放宽 --max-fpr",
        )
    ]


def _missed_limits(point: OperatingPoint) -> list[Text]:
    texts = []
    rate = point.false_positive_rate
    if point.max_fpr is not None and rate is not None and rate.low > point.max_fpr:
        measured, limit = _interval(rate), f"{point.max_fpr:g}"
        texts.append(
            Text(
                f"the false-positive rate is {measured} on the test rows, above the {limit} that the threshold was set "
                "for; set a lower limit, or train on newer rows",
                f"测试数据上的假阳性率为 {measured}，高于设定的 {limit}；请降低上限，或用更新的数据训练",
            )
        )
    rate = point.recall
    if point.min_recall is not None and rate is not None and rate.high < point.min_recall:
        measured, limit = _interval(rate), f"{point.min_recall:g}"
        texts.append(
            Text(
                f"recall is {measured} on the test rows, below the {limit} that the threshold was set for; ask for "
                "more recall, or train on newer rows",
                f"测试数据上的召回率为 {measured}，低于设定的 {limit}；请提高要求，或用更新的数据训练",
            )
        )
    return texts
