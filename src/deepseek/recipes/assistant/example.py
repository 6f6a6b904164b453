"""A small web shop, for --example and for tests: our own questions in English and Chinese, and their answers."""

from __future__ import annotations

import itertools
import re

import numpy as np

from deepseek.automl.assistant.questions import KnownQuestions
from deepseek.data.table.table import Table

#: Each line is several questions: [a|b] is either.
_LINES = {
    "track_order": (
        "Where is my [order|parcel|package]?", "When will my [order|parcel] arrive?",
        "My [order|parcel|package] has not arrived yet", "Can I track my [delivery|parcel|order]?",
        "[How long does|How many days does] delivery take?", "我的[包裹|快递|订单]到哪里了？",
        "[快递|包裹|货]什么时候能到？",
        "[怎么|在哪里]查物流？", "[东西|包裹]还没[收到|送到]",
    ),
    "return_item": (
        "How do I [return|send back] [an item|a product]?", "I want to [return|send back] [these shoes|this jacket]",
        "[What is|Tell me] your return policy", "[Can I|May I] return something I opened?",
        "[怎么|如何]退货？", "我想退[这件衣服|这双鞋|货]", "[拆封|打开]过还能退吗？", "退货[要|需要]什么[条件|手续]？",
    ),
    "refund_status": (
        "When do I get my [money|refund]?", "[Where is|I am still waiting for] my refund",
        "My refund [is not there|has not arrived] yet", "How long does a refund take to [arrive|be paid]?",
        "退款什么时候[到账|到]？", "我的退款还没[到|收到]", "[钱|退款]要多久才退[回来|给我]？",
    ),
    "change_address": (
        "[How can I|Can I] change my [delivery|shipping] address?", "I gave the wrong address for my [order|parcel]",
        "Please [send|deliver] it to [another|a different] address", "I have moved, please update my address",
        "[怎么|如何]修改收货地址？", "收货地址[写错|填错]了", "[能|可以]改一下[地址|收货地址]吗？",
        "我搬家了，要换地址",
    ),
    "cancel_order": (
        "[How do I|I want to] cancel my order",
        "[Can I|Is it possible to] cancel the order I placed [today|yesterday]?",
        "Please cancel [it|my purchase]", "I ordered by mistake and want to cancel",
        "[怎么|如何]取消订单？", "我想取消[订单|刚下的单]", "[下错单|买错]了，[可以|能]取消吗？",
    ),
    "invoice": (
        "[Can I get|I need] [an invoice|a receipt] for my order", "Where do I [find|download] my invoice?",
        "The invoice shows the wrong [company|tax number]", "Please send the invoice [again|by mail]",
        "[怎么|在哪里]开发票？", "[我要|需要]一张[发票|收据]", "发票[抬头|税号][写错|不对]了",
    ),
    "payment_failed": (
        "My [payment|card] was [declined|rejected]", "Why [did my payment fail|was my card refused]?",
        "I cannot pay with my [card|bank account]", "The payment page shows an error",
        "[付款|支付]失败了", "为什么[付不了款|支付不成功]？", "我的[银行卡|卡][被拒|刷不了]",
    ),
    "opening_hours": (
        "When [are you|is your store] open?", "What are your [opening|business] hours?",
        "Are you open on [Sunday|Saturday|holidays]?", "[Until when|How late] can I visit the store?",
        "[你们|门店]几点[开门|关门]？", "[周末|星期天|节假日]营业吗？", "营业时间是[几点到几点|什么时候]？",
    ),
}  # fmt: skip
_ANSWERS = {
    "track_order": "Parcels arrive within 3 working days. Your order page shows where yours is. "
    "包裹三个工作日内送达，订单页面可以查看物流。",
    "return_item": "You may return any item within 30 days: print the label from your order page. "
    "三十天内可以退货，请在订单页面打印退货单。",
    "refund_status": "Refunds are paid within 5 working days after the item has reached us. "
    "我们收到退货后五个工作日内退款。",
    "change_address": "Until the parcel is packed you can change the address on your order page. "
    "打包之前可以在订单页面修改地址。",
    "cancel_order": "Orders can be canceled on the order page until they are packed. 打包之前可以在订单页面取消订单。",
    "invoice": "The invoice is on your order page, under Documents. 发票在订单页面的“文件”里。",
    "payment_failed": "Please check the card's limit, or choose another way to pay. "
    "请检查银行卡限额，或换一种支付方式。",
    "opening_hours": "The store is open Monday to Saturday, 9 to 19. 门店周一至周六九点到十九点营业。",
}
_OUTSIDE = (
    "What is the weather today?", "Tell me a joke", "Who won the game last night?", "How do I cook rice?",
    "Book me a flight to Paris", "今天天气怎么样？", "讲个笑话", "怎么做红烧肉？", "帮我订一张机票", "昨晚谁赢了比赛？",
)  # fmt: skip
_CHOICE = re.compile(r"\[([^\]]*)\]")


def expand(line: str) -> list[str]:
    """Every question of a line.

    >>> expand("[How|Why] is it [so|late]?")
    ['How is it so?', 'How is it late?', 'Why is it so?', 'Why is it late?']
    """
    parts = _CHOICE.split(line)
    choices = [part.split("|") if place % 2 else [part] for place, part in enumerate(parts)]
    return ["".join(chosen) for chosen in itertools.product(*choices)]


def example_rows() -> list[tuple[str, str]]:
    """(question, intent) of the shop; the intent of a question that is none of its business is oos."""
    rows = [(question, intent) for intent, lines in _LINES.items() for line in lines for question in expand(line)]
    return rows + [(question, "oos") for question in _OUTSIDE]


def example_answers() -> dict[str, str]:
    """The answer to each intent."""
    return dict(_ANSWERS)


def example_tables() -> tuple[Table, Table]:
    """(questions with intents, an FAQ with one question and the answer for each intent), as they would be read."""
    rows = example_rows()
    first = {intent: expand(lines[0])[0] for intent, lines in _LINES.items()}
    intents = _table(question=[row[0] for row in rows], intent=[row[1] for row in rows])
    faq = _table(question=list(first.values()), intent=list(first), answer=[_ANSWERS[name] for name in first])
    return intents, faq


def example_questions() -> KnownQuestions:
    """The shop as it is learned."""
    from deepseek.automl.assistant.questions import read_questions

    intents, faq = example_tables()
    return read_questions(intents=intents, faq=faq)


def _table(**columns: list[str]) -> Table:
    return Table({name: np.array(values, object) for name, values in columns.items()}, dict.fromkeys(columns, "text"))
