"""The HTML page of suspected rings: the answer, each ring as a drawn graph over time with its reasons, how far to trust
that, and where it comes from."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from deepseek import look
from deepseek.features.graph.payments import Payments
from deepseek.features.graph.planting import LEVELS, RingLevel
from deepseek.features.graph.rings import SuspectedRing
from deepseek.look import Column, Html, Section, Text, Words, numbers
from deepseek.look.tables import Cell
from deepseek.recipes.rings import RingFindings
from deepseek.recipes.rings_drawing import MeetingMark, ring_over_time
from deepseek.recipes.rings_reasons import reasons

MOST_OPEN = 6  # rings that stand open; the others open on demand
MOST_DRAWN = 40  # the page stays small; --json has all
MARGIN_S = 2 * 86_400  # shown before the first and after the last meeting


def render_page(findings: RingFindings, name: str) -> str:
    """The page; `name` is that of the data."""
    drawn = findings.rings[:MOST_DRAWN]
    sections = [
        Section(_title(rank, ring), _ring_body(findings.payments, ring), folded=rank > MOST_OPEN, id=f"ring-{rank}")
        for rank, ring in enumerate(drawn, start=1)
    ]
    if not drawn:
        none = look.empty_state(
            Text("No card stands out.", "没有可疑的卡。"),
            Text("No two suspected cards are joined by their meetings.", "没有两张可疑卡因会合而相连。"),
            Text(
                "Give more days, or allow more with --max-fpr.",
                "提供更多天的数据，或用 --max-fpr 放宽误报。",
            ),
        )
        sections = [Section(Text("Suspected rings", "可疑团伙"), none, id="rings")]
    trust = Section(Text("How many rings are found", "能找到多少团伙"), _trust_body(findings), id="trust")
    return look.page(
        Text("Rings behind card payments", "卡支付背后的团伙"), _answer(findings), [*sections, trust],
        lead=_lead(findings), provenance=_provenance(findings, name),
    )  # fmt: skip


def _answer(findings: RingFindings) -> Text:
    num, cards = len(findings.rings), sum(len(ring.cards) for ring in findings.rings)
    total = numbers.count(findings.payments.num_cards)
    return Text(
        f"{num} {'ring is' if num == 1 else 'rings are'} suspected, with {cards} of {total} cards.",
        f"发现 {num} 个可疑团伙，涉及 {total} 张卡中的 {cards} 张。",
    )


def _lead(findings: RingFindings) -> Text:
    rate = numbers.number(100 * findings.choices.max_fpr)
    alarms = numbers.count(findings.choices.max_fpr * findings.payments.num_cards)
    num = findings.num_alone
    alone = f" {num} further {'card is' if num == 1 else 'cards are'} suspected alone." if num else ""
    return Text(
        f"Suspected is not guilty: at a false-positive rate of {rate} % about {alarms} cards are expected to be "
        f"suspected that are in no ring.{alone}",
        f"可疑不等于有罪：误报率为 {rate} % 时，预计约有 {alarms} 张不属于任何团伙的卡被怀疑。"
        f"另有 {findings.num_alone} 张卡单独可疑。",
    )


def _title(rank: int, ring: SuspectedRing) -> Text:
    score = numbers.number(float(np.mean(ring.scores)))
    return Text(
        f"Ring {rank}: {len(ring.cards)} cards, {len(ring.meetings)} meetings, score {score}",
        f"团伙 {rank}：{len(ring.cards)} 张卡，{len(ring.meetings)} 次会合，得分 {score}",
    )


def _ring_body(payments: Payments, ring: SuspectedRing) -> Html:
    letters = {place: _letter(index) for index, place in enumerate(ring.terminals)}
    row_of = {card: row for row, card in enumerate(ring.cards)}
    meetings = [
        MeetingMark(
            letters[each.terminal], [row_of[card] for card in each.cards], [1e3 * time for time in each.times_s]
        )
        for each in ring.meetings
    ]
    names = [str(payments.card_names[card]) for card in ring.cards]
    drawing = look.figure(
        ring_over_time, names, meetings, _other_payments(payments, ring),
        title=Text("Who met when", "何时会合"), x_label=Text("time (UTC)", "时间（UTC）"),
        caption=Text(
            "One row for each card. A line joins the cards of a meeting, the letter is its terminal; faint dots are "
            "the cards' other payments.",
            "每行一张卡。连线表示一次会合，字母表示终端；浅色点是这些卡的其他支付。",
        ),
    )  # fmt: skip
    rows: list[list[Cell]] = [
        [letters[place], str(payments.terminal_names[place]), sum(each.terminal == place for each in ring.meetings)]
        for place in ring.terminals
    ]
    columns = [
        Column(Text("Letter", "字母"), "text"), Column(Text("Terminal", "终端"), "text"),
        Column(Text("Meetings", "会合")),
    ]  # fmt: skip
    return Html(look.bullet_list(reasons(ring)) + drawing + look.table(columns, rows))


def _other_payments(payments: Payments, ring: SuspectedRing) -> list[list[float]]:
    """Milliseconds of each card's payments around the meetings that belong to none."""
    moments = [time for meeting in ring.meetings for time in meeting.times_s]
    low, high = (min(moments) - MARGIN_S, max(moments) + MARGIN_S) if moments else (0, 0)
    others = []
    for card in ring.cards:
        took_part = [(each.cards.index(card), each.times_s) for each in ring.meetings if card in each.cards]
        met = {times_s[place] for place, times_s in took_part}
        times_s = payments.time_s[payments.card == card]
        others.append([1e3 * time for time in times_s.tolist() if low <= time <= high and time not in met])
    return others


def _letter(index: int) -> str:
    """A, B, ... Z, A2, B2, ..."""
    return chr(ord("A") + index % 26) + (str(index // 26 + 1) if index >= 26 else "")


def _trust_body(findings: RingFindings) -> Html:
    held = findings.held_out
    rows: list[list[Cell]] = [
        [name, numbers.figure(each.recall.value, each.recall.low, each.recall.high), each.num_cards, each.num_rings]
        for name, each in held.recall.items()
    ]
    columns = [
        Column(Text("Level", "难度"), "text"), Column(Text("Share of its cards found", "找到的卡占比")),
        Column(Text("Cards planted", "植入的卡")), Column(Text("In rings", "所属团伙")),
    ]  # fmt: skip
    levels = [_level_words(name, LEVELS[name]) for name in held.recall]
    words = Text(
        f"Rings were planted into these payments, among crowds and groups on holidays, and looked for. Of "
        f"{numbers.count(held.num_others)} cards in no ring {held.num_alarms} were suspected, {held.num_decoy_alarms} "
        f"of them among the {numbers.count(held.num_decoys)} cards of decoys. Real rings may hide in other ways.",
        f"在这些支付中植入团伙，并混入人群和结伴度假者后再去寻找。"
        f"在 {numbers.count(held.num_others)} 张不属于团伙的卡中，{held.num_alarms} 张被怀疑，"
        f"其中 {held.num_decoy_alarms} 张在 {numbers.count(held.num_decoys)} 张诱饵卡之中。"
        "真实团伙可能以其他方式隐藏。",
    )
    return Html(look.paragraph(words) + look.table(columns, rows) + look.bullet_list(levels))


def _level_words(name: str, level: RingLevel) -> Text:
    near = Text("; neighbors, where they pay anyway", "；同一邻里、常用终端") if level.is_local else Text("", "")
    attendance, camouflage = f"{100 * level.attendance:.0f}", f"{level.camouflage:g}"
    cards, terminals, meetings, hours = map(
        _range, (level.num_cards, level.num_terminals, level.num_sessions, level.window_h)
    )
    return Text(
        f"{name}: {cards} cards at {terminals} terminals, {meetings} meetings within {hours} h, {attendance} % attend; "
        f"{camouflage} payments alone for each joint one{near.en}.",
        f"{name}：{cards} 张卡、{terminals} 个终端、{meetings} 次会合、每次 {hours} 小时内，{attendance} % 参与；"
        f"每笔共同支付另有 {camouflage} 笔单独支付{near.zh}。",
    )


def _range(ends: tuple[int, int]) -> str:
    return f"{ends[0]}–{ends[1]}" if ends[0] != ends[1] else str(ends[0])


def _provenance(findings: RingFindings, name: str) -> Mapping[Words, Words | Html]:
    payments = findings.payments
    first, last = (str(np.datetime64(int(time), "s"))[:10] for time in payments.time_s[[0, -1]])
    what = f"{name}, {first} – {last}"
    size = " / ".join(map(numbers.count, (len(payments), payments.num_cards, payments.num_terminals)))
    return {
        Text("Data", "数据"): what,
        Text("Payments / cards / terminals", "支付 / 卡 / 终端"): size,
        Text("Threshold of the score", "得分阈值"): numbers.number(findings.held_out.threshold),
        Text("Seed", "随机种子"): str(findings.choices.seed),
    }
