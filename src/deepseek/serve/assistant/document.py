"""What an assistant's routes take and answer, for the OpenAPI document."""

from __future__ import annotations

from deepseek.serve.assistant.service import MAX_MESSAGE_CHARS
from deepseek.serve.openapi.parts import NUMBER, TEXT, Schema, array_of, get_path, object_of, post_path

INTEGER: Schema = {"type": "integer"}
BOOLEAN: Schema = {"type": "boolean"}
COUNT: Schema = INTEGER | {"minimum": 0, "maximum": 2**53}
IDENTITY: Schema = TEXT | {"minLength": 1}
MESSAGE: Schema = object_of(
    {
        "number": INTEGER, "role": TEXT | {"enum": ["user", "assistant", "person"]}, "text": TEXT, "time_s": NUMBER,
        "buttons": array_of(object_of({"label": TEXT, "value": TEXT})), "intent": TEXT, "decision": TEXT,
        "reply_to": INTEGER,
    }
)  # fmt: skip
CONVERSE: Schema = object_of(
    {"conversation": TEXT, "status": TEXT, "person": TEXT, "number": INTEGER, "messages": array_of(MESSAGE)}
)
ANSWER: Schema = object_of(
    {"id": INTEGER, "answer": TEXT, "questions": array_of(TEXT), "intent": TEXT, "author": TEXT, "time_s": NUMBER}
)
STATE: Schema = object_of({"status": TEXT, "number": INTEGER})
QUESTION: Schema = object_of(
    {"id": TEXT, "question": TEXT, "reason": TEXT, "intents": array_of(TEXT), "conversation": TEXT, "time_s": NUMBER}
)
SUMMARY: Schema = object_of(
    {"id": TEXT, "status": TEXT, "reason": TEXT, "person": TEXT, "num_messages": INTEGER, "updated_s": NUMBER}
)


def _strict(required: Schema, optional: Schema | None = None) -> Schema:
    return object_of(required) | {"properties": required | (optional or {}), "additionalProperties": False}


def _operations() -> tuple[tuple[str, str, Schema, Schema, Schema], ...]:
    """Verb, summary, body, answer and example of each route."""
    conversation, example = {"conversation": IDENTITY}, {"conversation": "ID"}
    message = TEXT | {"maxLength": MAX_MESSAGE_CHARS}
    return (
        (
            "converse", "A message of a user, and what is said to it",
            _strict({}, {"message": message} | dict.fromkeys(("conversation", "choose", "message_id", "begin"), TEXT)),
            CONVERSE, {"message": "Where is my card?"},
        ),
        ("transcript", "The messages of a conversation", _strict(conversation, {"after": COUNT}), CONVERSE, example),
        (
            "feedback", "Whether a reply helped", _strict(conversation | {"number": COUNT, "helpful": BOOLEAN}),
            object_of({"kept": BOOLEAN}), example | {"number": 2, "helpful": False},
        ),
        ("forget", "Forget a conversation", _strict(conversation), object_of({"forgotten": BOOLEAN}), example),
        (
            "predict", "What questions are understood as",
            _strict({"instances": array_of(object_of({"question": TEXT})) | {"minItems": 1}}),
            object_of({"predictions": array_of({"type": "object"})}),
            {"instances": [{"question": "Where is my card?"}]},
        ),
        (
            "desk", "Conversations that wait for a person, or have one", _strict({}),
            object_of({"conversations": array_of(SUMMARY), "hand_overs_not_arrived": INTEGER}), {},
        ),
        (
            "reply", "A person's answer", _strict(conversation | {"message": message}, {"person": TEXT}), STATE,
            example | {"message": "Good morning.", "person": "Ann"},
        ),
        ("give_back", "Give a conversation back to the assistant", _strict(conversation), STATE, example),
        (
            "unanswered", "Questions without an answer, alike ones together", _strict({}),
            object_of({"groups": array_of(object_of({"size": INTEGER, "questions": array_of(QUESTION)}))}), {},
        ),
        ("answers", "The answers that were added", _strict({}), object_of({"answers": array_of(ANSWER)}), {}),
        (
            "add_answer", "An answer that holds from the next message on",
            _strict(
                {"answer": TEXT},
                {
                    "questions": array_of(TEXT), "question_ids": array_of(TEXT), "intent": TEXT, "author": TEXT,
                    "replaces": BOOLEAN,
                },
            ),
            ANSWER, {"answer": "Yes, on Sundays.", "questions": ["Are you open on Sunday?"]},
        ),
        (
            "undo_answer", "Take an added answer back", _strict({"answer": COUNT}), object_of({"undone": BOOLEAN}),
            {"answer": 1},
        ),
        (
            "drop_questions", "Take questions off the list", _strict({"question_ids": array_of(TEXT)}),
            object_of({"dropped": INTEGER}), {"question_ids": ["ID"]},
        ),
    )  # fmt: skip


def assistant_paths(path: str) -> Schema:
    """The operations below the path of an assistant, "/v1/models/M"."""
    paths = {
        f"{path}:{verb}": _with_refusals(post_path(summary, body, answer, example))
        for verb, summary, body, answer, example in _operations()
    }
    paths["/v1/chat/completions"] = _chat_path(path.rpartition("/")[2])
    described = object_of({"id": TEXT, "task": TEXT, "intents": {"type": "object"}})
    return {path: get_path(f"{path.rpartition('/')[2]}: what it is", described)} | paths


def _chat_path(name: str) -> Schema:
    """OpenAI's route, as far as an assistant has it."""
    turn = object_of({"role": TEXT | {"enum": ["system", "user", "assistant"]}, "content": TEXT})
    body = _strict(
        {"model": TEXT | {"enum": [name]}, "messages": array_of(turn) | {"minItems": 1}},
        {"stream": BOOLEAN, "metadata": {"type": "object", "properties": {"conversation": TEXT}}},
    )
    answer = object_of({"id": TEXT, "object": TEXT, "model": TEXT, "choices": array_of({"type": "object"})})
    example = {"model": name, "messages": [{"role": "user", "content": "Where is my card?"}]}
    return _with_refusals(post_path("The next message of a chat", body, answer, example))


def _with_refusals(path: Schema) -> Schema:
    """With the statuses that only these routes have."""
    responses = path["post"]["responses"]
    content = responses["422"]["content"]
    responses["403"] = {"description": "This needs a key that may do more than chat.", "content": content}
    responses["409"] = {"description": "It does not go together with what was kept before.", "content": content}
    responses["507"] = {"description": "The disk takes no more: nothing was changed.", "content": content}
    return path
