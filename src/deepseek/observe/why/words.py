"""Causes in words, in English and Chinese: what, how much, since when, and what to do."""

from __future__ import annotations

from deepseek.look import Text, numbers
from deepseek.observe.system.events import SYSTEM_FIELD, event_words
from deepseek.observe.why.causes import Cause, Evidence, Findings
from deepseek.observe.why.slices import Condition
from deepseek.observe.why.windows import moment_text

BAD_WORDS = {
    "failed": Text("failed", "失败"), "refused": Text("were refused", "被拒"),
    "slow": Text("were slow", "缓慢"), "unsure": Text("were of low confidence", "置信度低"),
    "wrong": Text("were wrong", "答错"),
    "flagged": Text("had imputed, unseen or outlying values", "含插补、未见或越界的值"),
}  # fmt: skip
#: Kinds of conditions that name no value.
FIXED_WORDS = {
    "missing": Text("is missing", "缺失"), "rare": Text("has a rare value", "为罕见值"),
    "text": Text("is no number", "不是数"),
}  # fmt: skip
NEW_SHARE = 0.5  # of its share now, that a slice had in the past at most, to be called new
MOST_VALUES = 3  # that a sentence names


def condition_words(condition: Condition) -> Text:
    """What a slice's field is."""
    name = condition.field.removeprefix("input.")
    if condition.field == SYSTEM_FIELD and (words := event_words(condition.value)) is not None:
        return Text(f"after {words[0].en}", f"{words[0].zh}之后")
    if condition.kind == "is":
        return Text(f"{name} = {condition.value}", f"{name} = {condition.value}")
    if (fixed := FIXED_WORDS.get(condition.kind)) is not None:
        return Text(f"{name} {fixed.en}", f"{name} {fixed.zh}")
    if condition.kind == "unseen":
        some = ", ".join(condition.values[:MOST_VALUES])
        more = f" ({some}{', …' if len(condition.values) > MOST_VALUES else ''})" if some else ""
        return Text(f"{name} has a value that the past did not know{more}", f"{name} 出现过去没有的值{more}")
    low, high = (
        None if end is None else _format_end(end, condition.is_whole) for end in (condition.low, condition.high)
    )
    if low is None:
        return Text(f"{name} below {high}", f"{name} 低于 {high}")
    if high is None:
        return Text(f"{name} from {low}", f"{name} 自 {low} 起")
    return Text(f"{name} from {low} to below {high}", f"{name} 在 {low} 至 {high} 之间")


def _format_end(end: float, is_whole: bool) -> str:
    return numbers.count(round(end)) if is_whole and abs(end) < 1e15 else numbers.number(end)


def cause_title(cause: Cause) -> Text:
    """The conditions of a cause; of none that all became worse at once."""
    if not cause.conditions:
        return Text("everything at once", "全部请求同时变坏")
    parts = [condition_words(each) for each in cause.conditions]
    return Text(" and ".join(part.en for part in parts), "，且 ".join(part.zh for part in parts))


def bad_words(evidence: Evidence) -> Text:
    kind, detail = evidence.badness.kind, evidence.badness.detail
    if kind == "answer":
        return Text(f"were answered {detail}", f"答为 {detail}")
    if kind == "value":
        return Text(f"were answered with a value {detail}", f"答案值 {detail}")
    if kind == "chosen":
        return Text(f"had {detail}", f"满足 {detail}")
    return BAD_WORDS[kind]


def evidence_words(evidence: Evidence) -> Text:
    """One kind of bad row in a slice: how many of how many, and how many were to be expected."""
    what = bad_words(evidence)
    bad, rows = numbers.count(round(evidence.num_bad)), numbers.count(round(evidence.num_rows))
    rate, past = _percent(evidence.rate), _percent(evidence.past_rate)
    if evidence.by_share:
        share, past_share = _percent(evidence.share), _percent(evidence.past_share)
        return Text(
            f"{bad} of its {rows} rows {what.en}; it is {share} of all rows, and was {past_share}.",
            f"其 {rows} 行中 {bad} 行{what.zh}；它占全部行的 {share}，过去为 {past_share}。",
        )
    held = _percent(min(1.0, evidence.num_bad / max(evidence.all_bad, 1e-9)))
    return Text(
        f"{bad} of its {rows} rows ({rate}) {what.en}, where {past} were to be expected: {held} of all such rows.",
        f"其 {rows} 行中 {bad} 行（{rate}）{what.zh}，预期为 {past}；占全部此类行的 {held}。",
    )


def _percent(share: float) -> str:
    return f"{numbers.number(100 * share)} %"


def action_words(cause: Cause) -> Text:
    """What to do, by what the first condition speaks of."""
    if not cause.conditions:
        return Text(
            "Nothing in the log tells the bad rows apart: look at what changed at that moment on every host, and roll "
            "it back.",
            "日志中没有字段能区分坏行：查看当时所有主机上的变更，并回退。",
        )
    first = cause.evidence[0]
    is_new = first.past_share < NEW_SHARE * first.share  # what the past had too is no release to roll back
    parts = [_one_action(each, is_new) for each in cause.conditions]
    return parts[0] if len({part.en for part in parts}) == 1 else Text(
        " ".join(part.en for part in parts), "".join(part.zh for part in parts)
    )  # fmt: skip


#: Last parts of fields' names -> the action, of which {last} is that part and {value} the value at fault.
ACTIONS: tuple[tuple[frozenset[str], Text], ...] = (
    (
        frozenset(["version", "digest", "build", "release", "image", "tag", "commit"]),
        Text("Roll {last} {value} back.", "回退 {last} {value}。"),
    ),
    (
        frozenset(["worker", "pid"]),
        Text("Drain worker {value}, and start another.", "排空 worker {value}，另起一个。"),
    ),
    (
        frozenset(["host", "hostname", "node", "pod", "replica", "instance"]),
        Text(
            "Drain {last} {value}, and look at its load, disk and clock.",
            "排空 {last} {value}，检查负载、磁盘与时钟。",
        ),
    ),
    (
        frozenset(["upstream", "backend", "source", "origin", "cache"]),
        Text("Mend {last} {value}, or route around it.", "修复 {last} {value}，或绕过它。"),
    ),
    (
        frozenset(["client", "tenant", "user", "key", "account"]),
        Text(
            "Ask {last} {value} what changed in its requests; limit its rate until then.",
            "询问 {last} {value} 请求有何变化；在此之前限制其速率。",
        ),
    ),
)
LENGTH_ACTION = Text("Limit the length, or serve long inputs by themselves.", "限制长度，或单独处理长输入。")
SECOND_ACTION = Text("Look for what runs at that second of each minute.", "查找每分钟该秒运行的任务。")
COLUMN_ACTION = Text(
    "Compare column {value} with its source: unit, encoding, default value; refuse such rows until it is mended.",
    "将列 {value} 与其来源比对：单位、编码、默认值；修复前拒绝此类行。",
)
OTHER_ACTION = Text("Look at what is special about {last} {value}.", "查看 {last} {value} 有何特别。")


def _one_action(condition: Condition, is_new: bool) -> Text:
    name, last = condition.field, condition.field.rsplit(".", 1)[-1]
    value = condition.value
    if name == SYSTEM_FIELD and (event := event_words(value)) is not None:
        return event[1]
    usable = ACTIONS if is_new else ACTIONS[1:]  # the first one is of releases
    words = next((words for names, words in usable if last.lower() in names), OTHER_ACTION)
    if condition.kind in ("length", "second"):
        words = LENGTH_ACTION if condition.kind == "length" else SECOND_ACTION
    elif name.startswith("input."):
        words, value = COLUMN_ACTION, name.removeprefix("input.")
    return Text(*(text.replace("{last}", last).replace("{value}", value) for text in (words.en, words.zh)))


def beginning_words(cause: Cause) -> Text | None:
    """Since when; None for what was so from the window's beginning."""
    if cause.began_s is None:
        return None
    moment = moment_text(cause.began_s)
    return Text(f"It began at {moment}.", f"始于 {moment}。")


def answer_words(findings: Findings) -> Text:
    """The answer in one sentence."""
    window = findings.window
    rows = numbers.count(window.num_rows)
    if not findings.causes:
        past = numbers.count(window.num_past)
        return Text(
            f"Nothing explains anything: the {rows} rows of the window are as bad or as good as the {past} "
            "before them.",
            f"没有显著原因：窗口中的 {rows} 行与之前的 {past} 行好坏相当。",
        )
    first = findings.causes[0]
    title, evidence = cause_title(first), evidence_words(first.evidence[0])
    begins_with_word = not first.conditions or first.conditions[0].field == SYSTEM_FIELD  # else with a field's name
    begin = title.en[:1].upper() if begins_with_word else title.en[:1]
    return Text(f"{begin}{title.en[1:]}: {evidence.en}", f"{title.zh}：{evidence.zh}")
