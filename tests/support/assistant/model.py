"""A model that understands eight intents in a moment: numpy alone, so that a process of its own starts at once."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from deepseek.dialogue.understanding import Decision, ScoredIntent, Understanding

EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "card_arrival": (
        "Where is my card?", "When does my new card arrive?", "My card has not come yet",
        "How long does card arrival take?",
        "I am still waiting for my card to be delivered", "track the card you sent me",
        "我的卡什么时候到？", "卡还没有收到",
    ),
    "lost_card": (
        "I lost my card", "My card was stolen", "I cannot find my card, please block it", "someone took my card",
        "report a lost card", "block my lost card", "我的卡丢了", "银行卡被偷了，请挂失",
    ),
    "refund": (
        "I want my money back", "I want a refund for my order", "please refund my purchase", "how do I get a refund",
        "return my payment for the order", "give me a refund", "我要退款", "请把订单的钱退给我",
    ),
    "exchange_rate": (
        "What is the exchange rate?", "which exchange rate do you use", "what rate do I get for euros",
        "are your exchange rates good", "rate for foreign currency", "exchange rate today",
        "汇率是多少？", "今天的汇率",
    ),
    "change_pin": (
        "How do I change my PIN?", "I want a new PIN", "reset my pin code", "can I choose another PIN",
        "change the pin of my card", "where can I set the PIN", "怎么修改密码？", "我要重置密码",
    ),
    "delivery_abroad": (
        "Do you deliver cards abroad?", "can a card be sent to another country", "send my card to France",
        "delivery to a foreign address", "is delivery abroad possible", "card abroad delivery",
        "可以寄到国外吗？", "能寄海外吗",
    ),
    "close_account": (
        "I want to close my account", "delete my account", "how do I cancel my account", "please end my account",
        "close the account for good", "account closing", "我要销户", "怎么注销账户？",
    ),
    "human": (
        "I want to talk to a human", "let me speak to a person", "connect me with an agent", "real person please",
        "can I talk to someone from support", "human agent", "我要转人工", "请转人工客服",
    ),
}  # fmt: skip
ANSWERS = {
    "card_arrival": "A card arrives within five working days.",
    "exchange_rate": "We use the rate of the interbank market.",
    "change_pin": "Change the PIN in the app under Cards, PIN.",
    "delivery_abroad": "We deliver to 30 countries.",
}
OUT_OF_SCOPE = (
    "what is the weather in Rome", "tell me a joke", "who won the game last night", "play some music",
    "book a table for two", "how tall is the tower", "今天天气怎么样", "讲个笑话", "write a poem about cats",
    "what time is it in Tokyo",
)  # fmt: skip
SIZE, RIDGE, STEEPNESS = 4_096, 0.05, 8.0
_CUT = re.compile(r"(?<=[?？])\s*|,? and (?=how|what|where|when|who|can|do|is|i )|，(?:还有|另外)", re.IGNORECASE)


class SmallModel:
    """deepseek.dialogue.understanding.Understands: kernel ridge regression on hashed runs of letters."""

    def __init__(self) -> None:
        self._labels = [*EXAMPLES, "none"]
        texts = [*EXAMPLES.values(), OUT_OF_SCOPE]
        self._bank = vectors([text for of in texts for text in of])
        places = np.repeat(np.arange(len(texts)), [len(of) for of in texts])
        kernel = self._bank @ self._bank.T + RIDGE * np.eye(len(self._bank))
        self._dual = np.linalg.solve(kernel, np.eye(len(texts))[places])

    @property
    def intents(self) -> tuple[str, ...]:
        return tuple(EXAMPLES)

    @property
    def answers(self) -> Mapping[str, str]:
        return ANSWERS

    def understand(self, questions: Sequence[str]) -> list[Understanding]:
        powers = np.exp(STEEPNESS * (vectors(questions) @ self._bank.T @ self._dual))
        shares = powers / powers.sum(axis=1, keepdims=True)
        return [self._read(question, row) for question, row in zip(questions, shares, strict=True)]

    def _read(self, question: str, shares: Any) -> Understanding:
        scope = 1 - float(shares[-1])
        places = [place for place in np.argsort(-shares, kind="stable") if self._labels[place] != "none"][:3]
        intents = tuple(ScoredIntent(self._labels[place], float(shares[place])) for place in places)
        decision: Decision = "answer" if intents[0].probability > 0.6 else "ask" if scope > 0.6 else "hand_over"
        parts = tuple(part.strip() for part in _CUT.split(question) if part and part.strip()) or (question,)
        return Understanding(question, intents, scope, decision, parts)


def vectors(texts: Sequence[str]) -> Any:
    """(N, SIZE) of length 1, of runs of one to four letters in each word."""
    rows = np.zeros((len(texts), SIZE))
    for row, text in enumerate(texts):
        for word in re.findall(r"[a-z0-9]+|[\u4e00-\u9fff]+", text[:2_000].lower()):
            padded = f" {word} "
            for length in range(1, 5):
                for start in range(len(padded) - length + 1):
                    rows[row, zlib.crc32(padded[start : start + length].encode()) % SIZE] += 1
    rows = np.log1p(rows)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


@cache
def small_model() -> SmallModel:
    """Fitted once for all tests of a process."""
    return SmallModel()


DIALOGUE = """
[slots.order]
kind = "order_number"
ask = {en = "What is the order number?", zh = "请问订单号是多少？"}
[slots.amount]
kind = "amount"
ask = {en = "How much was it?", zh = "金额是多少？"}
currency = "GBP"
[slots.card]
kind = "choice"
ask = {en = "Which card?", zh = "哪一张卡？"}
choices = {debit = ["debit card", "借记卡"], credit = ["credit card", "信用卡"]}
[slots.day]
kind = "date"
ask = {en = "When did you lose it?", zh = "什么时候丢的？"}
prefer = "past"

[[flows]]
name = "refund_order"
intents = ["refund"]
title = {en = "your refund", zh = "退款"}
[[flows.steps]]
ask = "order"
[[flows.steps]]
ask = "amount"
[[flows.steps]]
confirm = {en = "Refund {amount} for order {order}?", zh = "为订单{order}退款{amount}？"}
[[flows.steps]]
say = {en = "The refund of {amount} is on its way.", zh = "{amount}的退款已在处理。"}

[[flows]]
name = "block_card"
intents = ["lost_card"]
title = {en = "blocking the card", zh = "挂失"}
[[flows.steps]]
ask = "card"
[[flows.steps]]
ask = "day"
only_if = {card = "credit"}
[[flows.steps]]
hand_over = "a card is to be blocked"

[titles.card_arrival]
en = "card delivery"
zh = "寄卡"

[hand_over]
intents = ["human"]
"""
