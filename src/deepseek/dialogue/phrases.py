"""What the assistant says by itself, in English and Chinese. A dialogue file may replace each by its name.

>>> phrase("sorry_person", "en", {}, name="Ann")
'Ann answers you now.'
"""

from __future__ import annotations

from collections.abc import Mapping

PHRASES: Mapping[str, Mapping[str, str]] = {
    "en": {
        "hello": "Hello. What can I do for you?",
        "no_words": "I read words. Please write your question as a sentence.",
        "too_long": "That is too long for me. Please put the question in a few sentences.",
        "which": "Which of these do you mean?",
        "none_of_these": "None of these",
        "person": "Talk to a person",
        "not_covered": "I have no answer to that.",
        "not_covered_part": "I have no answer to “{part}”.",
        "no_answer": "I understand that this is about {title}, but no answer to it is written yet.",
        "hand_over": "I am passing this on to a person, with all that was said here. You can go on writing.",
        "with_person": "A person has this conversation and will answer.",
        "unreachable": "Nobody can be reached at the moment. Your request is kept and is sent again until it arrives.",
        "sorry_person": "{name} answers you now.",
        "back": "You are with the assistant again.",
        "cancelled": "{title}: stopped. Nothing was done.",
        "back_to": "Back to {title}.",
        "changed": "{slot} is now {value}.",
        "about": "About {title}:",
        "yes": "Yes",
        "no": "No",
        "again_date": "I read no date in that. For example: 3 December, or next Friday.",
        "again_amount": "I read no amount in that. For example: 25.50.",
        "again_number": "I read no number in that.",
        "again_order_number": "I read no such number in that. It has letters and digits, such as A-1234567.",
        "again_choice": "Please choose one of these.",
        "again_text": "Please write it in words.",
        "again_confirm": "Please answer yes or no.",
    },
    "zh": {
        "hello": "您好，请问有什么可以帮您？",
        "no_words": "我只能读文字，请用一句话写下您的问题。",
        "too_long": "内容太长，请用几句话说明问题。",
        "which": "您是想问下面哪一个？",
        "none_of_these": "都不是",
        "person": "转人工",
        "not_covered": "这个问题我没有答案。",
        "not_covered_part": "“{part}”这个问题我没有答案。",
        "no_answer": "您问的是“{title}”，但目前还没有写好的答案。",
        "hand_over": "正在为您转接人工，此处的全部对话会一并转交，您可以继续输入。",
        "with_person": "此对话已转交人工，请等待回复。",
        "unreachable": "目前联系不上人工。您的请求已保存，会继续发送直到送达。",
        "sorry_person": "{name}正在为您服务。",
        "back": "现在由智能助手继续为您服务。",
        "cancelled": "{title}：已停止，没有进行任何操作。",
        "back_to": "回到{title}。",
        "changed": "{slot}已改为{value}。",
        "about": "关于{title}：",
        "yes": "是",
        "no": "否",
        "again_date": "没有读到日期，例如：12月3日、下周五。",
        "again_amount": "没有读到金额，例如：25.50元。",
        "again_number": "没有读到数字。",
        "again_order_number": "没有读到号码，号码由字母和数字组成，例如A-1234567。",
        "again_choice": "请从下面选择一个。",
        "again_text": "请用文字说明。",
        "again_confirm": "请回答“是”或“否”。",
    },
}
#: Words by which a sentence says yes, no, stop.
YES = frozenset(
    (
        "yes", "y", "yeah", "yep", "sure", "ok", "okay", "correct", "right", "please", "是", "是的", "对", "对的", "好",
        "好的", "可以", "确认", "没错", "嗯",
    )
)  # fmt: skip
NO = frozenset(("no", "n", "nope", "wrong", "no thanks", "否", "不", "不是", "不对", "不用", "不行", "错了"))
STOP = frozenset(
    ("cancel", "stop", "never mind", "nevermind", "forget it", "quit", "取消", "算了", "不用了", "停止", "退出")
)


def phrase(name: str, language: str, replaced: Mapping[str, Mapping[str, str]], /, **values: str) -> str:
    """A phrase in a language, as the dialogue file has it where it has it, with its values put in."""
    text = replaced.get(language, {}).get(name) or PHRASES.get(language, PHRASES["en"])[name]
    return fill(text, values)


def fill(text: str, values: Mapping[str, str]) -> str:
    """The text with each {name} that has a value replaced. Values are put in as they are and not read again.

    >>> fill("{amount} for {order}, {other}", {"amount": "{order}", "order": "A-1"})
    '{order} for A-1, {other}'
    """
    parts = text.split("{")
    filled = [parts[0]]
    for part in parts[1:]:
        name, closing, rest = part.partition("}")
        filled.append(values[name] + rest if closing and name in values else "{" + part)
    return "".join(filled)


def plain_words(text: str) -> str:
    """A sentence as it is compared with others: lower case, no marks at its ends, single spaces.

    >>> plain_words("  Never   mind! ")
    'never mind'
    """
    return " ".join(text.lower().strip(" \t\n.,!?;:。，！？；：…~～").split())
