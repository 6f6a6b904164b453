"""The routes of an assistant, POSTs of JSON below /v1/models/M.

For who asks: :converse, :transcript, :feedback, :forget, and :predict, which understands questions and answers none.
The id of a conversation opens it, so it is sent in bodies alone and stands in no log; to a key that may only chat it
opens what that key began (askers.py).

For people who take over and who keep the FAQ: :desk, :reply, :give_back, :unanswered, :answers, :add_answer,
:undo_answer, :drop_questions. Where the server is reachable from other machines they need an API key; one that may only
chat (may=chat) does not open them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any
from urllib.parse import quote

import msgspec

from deepseek.contracts import JsonObject
from deepseek.dialogue.additions import AddedAnswer
from deepseek.dialogue.masking import mask
from deepseek.errors import InputError
from deepseek.serve.assistant import wire
from deepseek.serve.assistant.askers import read_asker
from deepseek.serve.assistant.document import assistant_paths
from deepseek.serve.assistant.model import AssistantModel
from deepseek.serve.assistant.pages import chat_page, desk_page, embed_script
from deepseek.serve.assistant.service import MAX_MESSAGE_CHARS, Incoming
from deepseek.serve.core.json_body import encode_json
from deepseek.serve.core.request import Request, Response
from deepseek.serve.core.routes import MAX_SMALL_BODY_BYTES, Route, Router, model_paths

MAX_BODY_BYTES = 1 << 20  # of a message: 100,000 characters, escaped
MAX_PREDICTED = 1_024  # questions of one request
MAX_NAME_CHARS = 80
BodyHandler = Callable[[Request], Awaitable[object]]


class AssistantRoutes:
    """The handlers of one assistant."""

    def __init__(self, model: AssistantModel) -> None:
        self._model, self._service = model, model.service

    @property
    def name(self) -> str:
        """Of the model."""
        return self._model.name

    def add_to(self, router: Router, find_model: Callable[[str], Any]) -> None:
        """Add them. The pages ask for a key themselves, where one is needed."""
        path, _ = model_paths(self.name, None)
        for verb, handler in (
            ("converse", self.converse), ("transcript", self.transcript), ("feedback", self.feedback),
            ("forget", self.forget),
        ):  # fmt: skip
            self._add(router, path, verb, handler, is_chat=True)
        for verb, handler in (
            ("desk", self.desk), ("reply", self.reply), ("give_back", self.give_back), ("answers", self.answers),
            ("add_answer", self.add_answer), ("undo_answer", self.undo_answer), ("unanswered", self.list_unanswered),
            ("drop_questions", self.drop_questions),
        ):  # fmt: skip
            self._add(router, path, verb, handler, changes=True)
        self._add(router, path, "predict", self.predict)
        describe, limit = self._handler(self.describe_model), MAX_SMALL_BODY_BYTES
        router.routes[path] = Route("/v1/models/M", "GET", describe, max_body_bytes=limit, is_chat=True)
        for page, content in (("", chat_page), (".js", embed_script), ("/desk", desk_page)):
            answer = partial(_answer_page, content, self.name)
            router.add_page(f"/chat/{self.name}{page}", answer, needs_key=False)

    def describe(self) -> JsonObject:
        """Their paths, for the OpenAPI document."""
        return assistant_paths(f"/v1/models/{quote(self.name)}")

    def close(self) -> None:
        """Nothing: the model closes what it holds."""

    async def converse(self, request: Request) -> object:
        """POST /v1/models/M:converse"""
        body = wire.read_body(request.body, wire.ConverseBody)
        exchange = await self._service.converse(
            Incoming(
                body.message, body.conversation, body.choose, body.message_id[:128], body.begin, read_asker(request)
            )
        )
        return wire.converse_answer(exchange.conversation, exchange.message.number, exchange.replies)

    async def transcript(self, request: Request) -> object:
        """POST /v1/models/M:transcript"""
        body = wire.read_body(request.body, wire.TranscriptBody)
        state, messages = await self._service.read_messages(body.conversation, body.after, read_asker(request))
        return wire.converse_answer(state, state.num_messages, messages)

    async def feedback(self, request: Request) -> object:
        """POST /v1/models/M:feedback"""
        body = wire.read_body(request.body, wire.FeedbackBody)
        asker = read_asker(request)
        await self._service.keep_feedback(body.conversation, body.number, asker, is_helpful=body.helpful)
        return {"kept": True}

    async def forget(self, request: Request) -> object:
        """POST /v1/models/M:forget"""
        body = wire.read_body(request.body, wire.ConversationBody)
        await self._service.forget(body.conversation, read_asker(request))
        return {"forgotten": True}

    async def describe_model(self, request: Request) -> object:
        """GET /v1/models/M"""
        model, manager = self._model, self._service.manager
        intents = {
            name: {language: manager.definition.title(name, language) for language in ("en", "zh")}
            for name in manager.model.intents
        }
        return {
            **msgspec.structs.asdict(model.entry),
            "intents": intents,
            "slots": {name: slot.kind for name, slot in manager.definition.slots.items()},
            "flows": [flow.name for flow in manager.definition.flows],
            "chat": f"/chat/{self.name}",
        }

    async def predict(self, request: Request) -> object:
        """POST /v1/models/M:predict"""
        instances = wire.read_body(request.body, wire.PredictBody).instances
        if not 0 < len(instances) <= MAX_PREDICTED:
            raise InputError(
                f"there are {len(instances)} questions", expected=f"1 to {MAX_PREDICTED}", fix="send them in parts"
            )
        request.take_rows(len(instances))
        understood = await self._service.run(
            self._service.manager.model.understand, [each.question for each in instances]
        )
        return {
            "predictions": [
                {
                    "label": each.best.name if each.best is not None else None, "in_scope": each.in_scope,
                    "decision": each.decision, "parts": each.parts,
                    "intents": [{"name": intent.name, "probability": intent.probability} for intent in each.intents],
                }
                for each in understood
            ]
        }  # fmt: skip

    async def desk(self, request: Request) -> object:
        """POST /v1/models/M:desk"""
        wire.read_body(request.body, wire.EmptyBody)
        listed = await self._service.list_desk()
        waiting = await self._service.run(self._service.store.num_notes)
        return {"conversations": listed, "hand_overs_not_arrived": waiting}

    async def reply(self, request: Request) -> object:
        """POST /v1/models/M:reply"""
        body = wire.read_body(request.body, wire.ReplyBody)
        if not body.message.strip() or len(body.message) > MAX_MESSAGE_CHARS or len(body.person) > MAX_NAME_CHARS:
            raise InputError(
                "the reply has no text, or too long a one",
                expected=f"1 to {MAX_MESSAGE_CHARS} characters, and a name of at most {MAX_NAME_CHARS}",
                fix="write it in message",
            )
        state = await self._service.say_as_person(body.conversation, body.message, body.person or "A person")
        return {"status": state.status, "number": state.num_messages}

    async def give_back(self, request: Request) -> object:
        """POST /v1/models/M:give_back"""
        state = await self._service.give_back(wire.read_body(request.body, wire.ConversationBody).conversation)
        return {"status": state.status, "number": state.num_messages}

    async def list_unanswered(self, request: Request) -> object:
        """POST /v1/models/M:unanswered"""
        wire.read_body(request.body, wire.EmptyBody)
        groups = await self._service.question_groups()
        return {"groups": [{"size": len(each.questions), "questions": each.questions} for each in groups]}

    async def answers(self, request: Request) -> object:
        """POST /v1/models/M:answers"""
        wire.read_body(request.body, wire.EmptyBody)
        answers = await self._service.run(self._service.store.answers)
        return {"answers": [_answer_body(each) for each in answers]}

    async def add_answer(self, request: Request) -> object:
        """POST /v1/models/M:add_answer"""
        body = wire.read_body(request.body, wire.AddAnswerBody)
        answer = AddedAnswer(0, body.answer, body.questions, body.intent, body.author[:MAX_NAME_CHARS])
        return _answer_body(await self._service.add_answer(answer, body.question_ids, replaces=body.replaces))

    async def undo_answer(self, request: Request) -> object:
        """POST /v1/models/M:undo_answer"""
        await self._service.undo_answer(wire.read_body(request.body, wire.UndoBody).answer)
        return {"undone": True}

    async def drop_questions(self, request: Request) -> object:
        """POST /v1/models/M:drop_questions"""
        body = wire.read_body(request.body, wire.DropBody)
        await self._service.run(self._service.store.drop_questions, body.question_ids, 0)
        return {"dropped": len(body.question_ids)}

    def _add(
        self,
        router: Router,
        path: str,
        verb: str,
        handler: BodyHandler,
        *,
        is_chat: bool = False,
        changes: bool = False,
    ) -> None:
        limit = None if verb == "predict" else MAX_BODY_BYTES
        router.routes[f"{path}:{verb}"] = Route(
            f"/v1/models/M:{verb}",
            "POST",
            self._handler(handler),
            max_body_bytes=limit,
            changes=changes,
            is_chat=is_chat,
        )

    def _handler(self, work: BodyHandler) -> Callable[[Request], Awaitable[Response]]:
        async def handle(request: Request) -> Response:
            if request.method == "POST":
                request.check_media_type()
            request.model = self._model
            return Response(encode_json(await work(request)))

        return handle


def _answer_page(content: Callable[[str, tuple[str, ...]], Response], name: str, request: Request) -> Response:
    """A page for the assistant, and for the hosts that the operator has named."""
    return content(name, request.settings.allowed_hosts)


def _answer_body(answer: AddedAnswer) -> JsonObject:
    return {
        "id": answer.id, "answer": answer.answer, "questions": [mask(question) for question in answer.questions],
        "intent": answer.intent, "author": answer.author, "time_s": answer.time_s,
    }  # fmt: skip
