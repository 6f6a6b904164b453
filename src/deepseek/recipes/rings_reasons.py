"""Why a group of cards is suspected, in words; and what speaks for a harmless group."""

from __future__ import annotations

from deepseek.features.graph.rings import SuspectedRing
from deepseek.look import Text, numbers

MANY_STRANGERS = 10  # payments of others in a meeting: as many as in a crowd
TRAVELING_SHARE = 0.4  # of payments elsewhere; below, the group may be on a journey


def reasons(ring: SuspectedRing) -> list[Text]:
    """The reasons, the strongest first."""
    evidence, num_cards, num_places = ring.evidence, len(ring.cards), len(ring.terminals)
    attendance = numbers.number(100 * evidence.attendance)
    span, width = numbers.number(evidence.span_days), numbers.number(evidence.mean_width_h)
    texts = [
        Text(
            f"{num_cards} cards met {len(ring.meetings)} times at {num_places} terminals on {evidence.num_days} days "
            f"within {span} days; on average {attendance} % of them, within {width} hours.",
            f"{num_cards} 张卡在 {span} 天内的 {evidence.num_days} 天里于 {num_places} 个终端会合 "
            f"{len(ring.meetings)} 次；平均 {attendance} % 的卡参与，间隔 {width} 小时以内。",
        )
    ]
    if evidence.surprise >= 1:
        texts.append(_surprise(evidence.surprise))
    texts.append(_visits(evidence.num_visits_alone))
    elsewhere = numbers.number(100 * evidence.share_elsewhere)
    if evidence.share_elsewhere < TRAVELING_SHARE:
        texts.append(
            Text(
                f"Only {elsewhere} % of their payments in these days were elsewhere: it may be a group on a journey.",
                f"这些天里只有 {elsewhere} % 的支付发生在别处：可能是结伴出行的群体。",
            )
        )
    else:
        texts.append(
            Text(
                f"{elsewhere} % of their payments in these days were elsewhere, by each alone: no group on a journey.",
                f"这些天里 {elsewhere} % 的支付是各自在别处进行的：不像结伴出行。",
            )
        )
    texts.append(_strangers(evidence.most_strangers))
    return texts


def _surprise(surprise: float) -> Text:
    odds = numbers.count(float(f"{10**surprise:.1e}")) if surprise < 7 else f"10^{surprise:.0f}"
    return Text(
        f"By chance, one pair of such cards in {odds} would meet as often as the most surprising pair here.",
        f"若纯属偶然，每 {odds} 对同类卡中才有一对像此处最异常的一对那样频繁会合。",
    )


def _visits(num_alone: int) -> Text:
    if not num_alone:
        return Text("None of them pays at these terminals otherwise.", "这些卡从不在其他时候于这些终端支付。")
    return Text(
        f"Outside of the meetings they paid {num_alone} times at these terminals.",
        f"会合之外，它们在这些终端支付过 {num_alone} 次。",
    )


def _strangers(most: int) -> Text:
    if most >= MANY_STRANGERS:
        return Text(
            f"Up to {most} payments of other cards stand in a meeting: a crowd is there, too.",
            f"会合期间最多有 {most} 笔其他卡的支付：现场也有人群。",
        )
    if not most:
        return Text("No other card paid during a meeting: no crowd.", "会合期间没有其他卡支付：不是人群。")
    payments = "1 payment of another card stands" if most == 1 else f"{most} payments of other cards stand"
    return Text(
        f"At most {payments} in a meeting: no crowd.",
        f"会合期间其他卡的支付至多 {most} 笔：不是人群。",
    )
