"""The chat page, the script that embeds it in other sites, and the desk of the people who take over.

GET /chat/help, /chat/help.js, /chat/help/desk. The pages run their own scripts alone and call this server alone; the
chat may stand in a frame of this server and of the hosts that --allowed-hosts names, the desk in none.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from deepseek import look
from deepseek.look import Html, Section, Text, escape, inline
from deepseek.serve.console.page import STYLE as CONSOLE_STYLE
from deepseek.serve.console.routes import html_response
from deepseek.serve.core.hosts import ANY_HOST
from deepseek.serve.core.request import Response

SCRIPT_TYPE = b"text/javascript; charset=utf-8"
STYLE = """
.log{display:flex;flex-direction:column;gap:8px;overflow-y:auto;min-height:200px;height:min(56vh,560px);padding:4px 2px}
.turn{max-width:min(85%,60ch);padding:8px 14px;border-radius:12px;background:var(--wash);align-self:flex-start}
.turn .text{margin:0;white-space:pre-wrap;overflow-wrap:anywhere}
.turn .when{margin:2px 0 0;font-size:12px;color:var(--soft)}
.turn.user{align-self:flex-end;background:var(--accent);color:var(--ground)}.turn.user .when{color:inherit}
.turn.person{border-left:3px solid var(--good)}
.turn.waiting{opacity:.6}.turn.refused{text-decoration:line-through}
.offers{display:flex;flex-wrap:wrap;gap:8px}.offers button{border-radius:16px;padding:5px 14px;text-align:left}
.feedback{margin:2px 0 0}.feedback button.act.plain{font-size:13px;padding:2px 12px 2px 0;background:none}
#waiting th[scope=row]{white-space:nowrap;min-width:0}#waiting th button.act.plain{padding:0;font-size:inherit;
color:var(--accent)}
#talk .log{height:auto;min-height:0;max-height:min(56vh,560px);margin-top:16px}
#ask,#say{display:flex;gap:10px;align-items:flex-end;margin:12px 0 0}
textarea{font:inherit;flex:1;width:100%;min-width:0;padding:8px 10px;color:var(--ink);background:var(--ground);
border:1px solid var(--axis);border-radius:8px;resize:vertical}
.under{display:flex;flex-wrap:wrap;gap:4px 16px;align-items:center;margin:4px 0 0}.under button.act.plain{padding:4px 0}
#state{min-height:1.5em;font-size:14px;margin:8px 0 0}
#state:not(.bad):not(.warn){color:var(--soft)}
[hidden]{display:none!important}
.groups{list-style:none;padding:0;max-width:none}.groups>li{padding:8px 0 12px;border-bottom:1px solid var(--rule)}
.groups p{margin:4px 0}.groups .row{margin:6px 0 0}
.embedded body{max-width:none;padding:12px 14px;display:flex;flex-direction:column;height:100vh;height:100dvh}
.embedded main{flex:1;display:flex;flex-direction:column;min-height:0}
.embedded h2,.embedded .answer{display:none}.embedded h1{font-size:17px}
.embedded #assistant,.embedded #assistant-part,.embedded section{flex:1;display:flex;flex-direction:column;min-height:0}
.embedded .log{flex:1;height:auto;min-height:80px}
@media (max-width:560px){.log{height:max(240px,calc(100dvh - 330px))}.turn{max-width:92%}}
"""


@cache
def _script(*names: str) -> str:
    folder = files("deepseek.serve.assistant")
    return "\n".join((folder / name).read_text(encoding="utf-8") for name in names)


def chat_page(name: str, allowed_hosts: tuple[str, ...]) -> Response:
    """GET /chat/M"""
    response = html_response(render_chat(name))
    ancestors = " ".join(["'self'", *_framing_hosts(allowed_hosts)])
    (policy_name, policy), *others = response.headers
    policy = policy.replace(b"frame-ancestors 'none'", b"frame-ancestors " + ancestors.encode())
    response.headers = ((policy_name, policy), *others, (b"referrer-policy", b"no-referrer"))
    return response


def _framing_hosts(allowed: tuple[str, ...]) -> list[str]:
    """The sources of Content-Security-Policy for the hosts that the operator has named, on any port."""
    if ANY_HOST in allowed:
        return ["*"]
    return [("*" + host.lstrip("*") if host[0] in "*." else host) + ":*" for host in allowed]


def render_chat(name: str) -> str:
    """The chat of one assistant as a whole page."""
    words = {
        "ask": Text("Your message", "您的消息"), "send": Text("Send", "发送"),
        "person": Text("Talk to a person", "转人工"), "log": Text("Conversation", "对话"),
        "forget": Text("Delete this conversation", "删除此对话"),
    }  # fmt: skip
    label = {key: inline(text) for key, text in words.items()}
    body = (
        f'<div id="assistant" data-model="{escape(name)}">{_key_form()}'
        '<div id="log" class="log" role="log" aria-live="polite" tabindex="0" '
        f'aria-label="{escape(_both(words["log"]))}"></div>'
        '<p id="state" role="status"></p>'
        f'<form id="ask"><textarea id="text" rows="2" maxlength="100000" aria-label="{escape(_both(words["ask"]))}" '
        f'autocomplete="off"></textarea><button class="act main" type="submit">{label["send"]}</button></form>'
        f'<p class="under"><button class="act plain" type="button" id="person">{label["person"]}</button>'
        f'<button class="act plain" type="button" id="forget">{label["forget"]}</button></p>'
        f"<noscript><p>{inline(Text('This page needs JavaScript.', '本页需要 JavaScript。'))}</p></noscript></div>"
    )
    return look.page(
        Text(f"Chat: {name}", f"对话：{name}"),
        Text("Write your question.", "请输入您的问题。"),
        [Section(words["log"], Html(body), id="assistant-part")],
        style=CONSOLE_STYLE + STYLE,
        script=_script("chat_common.js", "chat.js"),
        connect=True,
    )


def desk_page(name: str, _: tuple[str, ...]) -> Response:
    """GET /chat/M/desk"""
    return html_response(render_desk(name))


def render_desk(name: str) -> str:
    """The desk of one assistant as a whole page."""
    answer = escape(_both(Text("Your answer", "您的回复")))
    talk = (
        '<div id="talk" hidden><div id="log" class="log" role="log" tabindex="0"></div>'
        f'<form id="say"><textarea id="text" rows="2" aria-label="{answer}"></textarea>'
        f'<button class="act main" type="submit">{inline(Text("Send", "发送"))}</button></form>'
        f'<p class="under"><button class="act" type="button" id="give-back">'
        f"{inline(Text('Give back to the assistant', '交还给智能助手'))}</button></p></div>"
    )
    head = (
        f'<div id="assistant" data-model="{escape(name)}">{_key_form()}<p class="row"><label for="name">'
        f'{inline(Text("Your name", "您的姓名"))}</label><input id="name" autocomplete="name" maxlength="80"></p>'
        '<div id="problem"></div><div id="late"></div><div id="waiting" class="scroll" tabindex="0"></div></div>'
    )
    return look.page(
        Text(f"Desk: {name}", f"工作台：{name}"),
        Text("Who waits for a person, and what could not be answered.", "等待人工的用户，以及未能回答的问题。"),
        [
            Section(Text("Conversations", "对话"), Html(head + talk), id="conversations"),
            Section(
                Text("Questions without an answer", "未回答的问题"), Html('<div id="groups"></div>'), id="questions"
            ),
            Section(Text("Answers that were added", "已添加的答案"), Html('<div id="answers"></div>'), id="added"),
        ],
        style=CONSOLE_STYLE + STYLE,
        script=_script("chat_common.js", "desk.js"),
        connect=True,
    )


def embed_script(_: str, __: tuple[str, ...]) -> Response:
    """GET /chat/M.js"""
    headers = ((b"cache-control", b"public, max-age=300"), (b"cross-origin-resource-policy", b"cross-origin"))
    return Response(_script("embed.js").encode(), media_type=SCRIPT_TYPE, headers=headers)


def _both(words: Text) -> str:
    return f"{words.en} · {words.zh}"


def _key_form() -> str:
    title, ask = Text("API key", "API 密钥"), Text("Use this key", "使用此密钥")
    return (
        f'<form id="key" hidden><p class="row"><label for="key-text">{inline(title)}</label>'
        '<input id="key-text" type="password" autocomplete="off">'
        f'<button class="act main" type="submit">{inline(ask)}</button></p></form>'
    )
