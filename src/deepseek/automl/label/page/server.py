"""The page of a project, served where people label. Programs may label, too.

    with LabelServer(Path("claims"), "127.0.0.1", 8050) as server:
        server.serve_forever()

GET / is the page; GET /media/ITEM/COLUMN a file of an item, /preview/ITEM/COLUMN what can be drawn of a series, sound
or scan, /slice/ITEM/COLUMN?place=0&low=-160&high=240 one slice of a scan. Each request but the first names who asks by
the header Authorization: Bearer KEY, or without people by Deepseek-Person: NAME.

    POST /next    {"num": 5, "exclude": [3]}                       -> {"items": [...], "counts": {...}}
    POST /label   {"changes": [{"id", "item", "action", "value", "comment", "seen", "duration_s", "suggestion"}]}
                  -> {"results": [{"id", "change"} or {"id", "error"}], "counts"}; sent again, a change is kept once
    POST /undo    {"id": "..."}                                    -> {"item": {...}}
    POST /item    {"item": 7}                                      -> {"item": {...}}
    POST /release {}                                               -> {}: the page was closed
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import asdict
from http import HTTPStatus
from ipaddress import ip_address
from pathlib import Path
from typing import Any, ClassVar, get_args
from urllib.parse import unquote

from deepseek.automl.label.page.preview import preview_file, read_slice
from deepseek.automl.label.page.refresh import QueueRefresher
from deepseek.automl.label.page.render import render_label_page
from deepseek.automl.label.project.people import identify, list_people
from deepseek.automl.label.project.project import Project
from deepseek.automl.label.project.records import Action, Item, NewChange, Person
from deepseek.contracts import JsonObject
from deepseek.data.media.magic_bytes import detect_media_format
from deepseek.errors import DeepseekError, InputError
from deepseek.page_server import PageHandler, PageServer

#: What a browser shows, by the first bytes of a file.
MEDIA_TYPES = {
    "JPEG": "image/jpeg", "PNG": "image/png", "GIF": "image/gif", "BMP": "image/bmp", "WebP": "image/webp",
    "AVIF or HEIF": "image/avif", "WAV": "audio/wav", "MP3": "audio/mpeg", "OGG": "audio/ogg", "FLAC": "audio/flac",
    "MP4": "video/mp4",
}  # fmt: skip
OCTETS = "application/octet-stream"
CACHE = "private, max-age=3600"
MAX_CHANGES = 500  # of one request
PEOPLE_ACTIONS = tuple(action for action in get_args(Action) if action not in ("undo", "import"))


class LabelServer(PageServer):
    """One project on one port; each thread has a connection of its own to the file."""

    def __init__(self, folder: Path, host: str, port: int, refresher: QueueRefresher | None = None) -> None:
        """InputError where the address is not free, and where everybody could reach a project without people."""
        self.folder, self._local = folder, threading.local()
        self.refresher = refresher
        with Project.open(folder) as project:
            if not is_local(host) and not list_people(project.store):
                raise InputError(
                    f"whoever reaches {host} could label under any name", expected="people with keys",
                    fix=f"deepseek label people {folder} --add NAME; or leave --host out",
                )  # fmt: skip
        super().__init__(host, port, LabelHandler)

    @property
    def project(self) -> Project:
        """The project, by the connection of this thread."""
        if not hasattr(self._local, "project"):
            self._local.project = Project.open(self.folder)
        project: Project = self._local.project
        return project

    def shutdown_request(self, request: Any) -> None:
        """A connection ends, and with it its thread."""
        if hasattr(self._local, "project"):
            self._local.project.close()
            del self._local.project
        super().shutdown_request(request)

    def server_close(self) -> None:
        if self.refresher is not None:
            self.refresher.close()
        super().server_close()


def is_local(host: str) -> bool:
    """Whether only this machine reaches `host`.

    >>> is_local("127.0.0.1"), is_local("localhost"), is_local("0.0.0.0")
    (True, True, False)
    """
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class LabelHandler(PageHandler):
    """One connection."""

    server: LabelServer
    GET_ROUTES: ClassVar[tuple[str, ...]] = ("/", "/media/", "/preview/", "/slice/")
    POST_ROUTES: ClassVar[tuple[str, ...]] = ("/next", "/label", "/undo", "/item", "/release")

    def get(self, path: str, query: Mapping[str, str]) -> None:
        if path == "/":
            project = self.server.project
            self.answer_html(render_label_page(project.definition, has_people=bool(list_people(project.store))))
            return
        self._identify()
        _, route, number, column = (*path.split("/", 3), "", "")[:4]
        project, column = self.server.project, unquote(column)
        item = project.store.item(_whole(number, "the item"))
        file = project.media_path(item, column)
        if route == "preview":
            self.answer_json(preview_file(file, project.definition.kinds[column]))
        elif route == "slice":
            window = (_number(query.get("low"), "low"), _number(query.get("high"), "high"))
            picture = read_slice(file, _whole(query.get("place"), "place"), window)
            self.answer_bytes(HTTPStatus.OK, picture, "image/png", cache=CACHE)
        elif file.is_dir():
            raise InputError(f"{file.name} is a folder", expected="a file", fix="ask for /slice/ITEM/COLUMN?place=0")
        else:
            data = file.read_bytes()
            kind = MEDIA_TYPES.get(detect_media_format(data), OCTETS)
            self.answer_bytes(HTTPStatus.OK, data, kind, cache=CACHE)

    def post(self, path: str, body: JsonObject) -> None:
        person = self._identify()
        work = {
            "/next": self._next, "/label": self._label, "/undo": self._undo, "/item": self._item,
            "/release": self._release,
        }[path]  # fmt: skip
        self.answer_json(work(person, body))

    def _identify(self) -> Person:
        authorization = self.headers.get("Authorization", "")
        key = authorization[7:].strip() if authorization[:7].lower() == "bearer " else None
        return identify(self.server.project.store, key, unquote(self.headers.get("Deepseek-Person", "")))

    def _next(self, person: Person, body: JsonObject) -> JsonObject:
        exclude = body.get("exclude", [])
        if not isinstance(exclude, list) or len(exclude) > MAX_CHANGES:
            raise InputError("exclude is no list", expected="numbers of items", fix="leave it out")
        numbers = [_whole(number, "exclude") for number in exclude]
        items = self.server.project.store.next_items(person.name, _whole(body.get("num", 1), "num"), numbers)
        return {"items": [self._describe(item, person) for item in items], "counts": self._counts()}

    def _item(self, person: Person, body: JsonObject) -> JsonObject:
        item = self.server.project.store.item(_whole(body.get("item"), "item"))
        return {"item": self._describe(item, person)}

    def _label(self, person: Person, body: JsonObject) -> JsonObject:
        changes = body.get("changes")
        if not isinstance(changes, list) or len(changes) > MAX_CHANGES:
            raise InputError(
                "the body holds no changes", expected=f'{{"changes": [...]}}, at most {MAX_CHANGES}', fix="send them so"
            )
        results = [self._keep(person, change) for change in changes]
        if self.server.refresher is not None:
            self.server.refresher.note(sum("change" in result for result in results))
        return {"results": results, "counts": self._counts()}

    def _keep(self, person: Person, document: object) -> JsonObject:
        """One change of a list: its number, or its error. One that is refused does not hold up the others."""
        identity = document.get("id") if isinstance(document, dict) else None
        try:
            change = self.server.project.store.record(_read_change(document, person))
        except DeepseekError as error:
            if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                raise  # the disk is full: the page sends it again
            return {"id": identity, "error": error.to_dict()}
        return {"id": change.id, "change": change.number, "item": change.item}

    def _undo(self, person: Person, body: JsonObject) -> JsonObject:
        store = self.server.project.store
        change = store.undo(str(body.get("id", "")), person.name)
        return {"item": self._describe(store.item(change.item), person), "counts": self._counts()}

    def _release(self, person: Person, body: JsonObject) -> JsonObject:
        self.server.project.store.release(person.name)
        return {}

    def _counts(self) -> JsonObject:
        return asdict(self.server.project.counts())

    def _describe(self, item: Item, person: Person) -> JsonObject:
        """An item as the page shows it, with what this person said of it, and for reviewers what others said. Whether
        it is to be tested on is not told: it would be looked at otherwise."""
        store = self.server.project.store
        labels = {label.person: label for label in store.labels(item.number)}
        own = labels.pop(person.name, None)
        suggestion = None if item.is_test else store.suggestion(item.number)
        others = labels.values() if person.role != "labeler" else ()
        return {
            "number": item.number, "key": item.key, "content": item.content, "fault": item.fault,
            "seen": own.change if own else 0,
            "label": None if own is None else {"state": own.state, "value": own.value, "comment": own.comment},
            "others": [{"person": each.person, "state": each.state, "value": each.value} for each in others],
            "suggestion": None if suggestion is None else {
                "value": suggestion.value, "probability": suggestion.probability, "reasons": suggestion.reasons,
            },
        }  # fmt: skip


def _whole(value: object, what: str) -> int:
    if isinstance(value, str) and value.isdecimal() and len(value) < 19:
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise InputError(f"{what} is {str(value)[:40]!r}", expected="a whole number", fix="send such a number")
    return value


def _number(value: str | None, what: str) -> float:
    try:
        return float(value or "")
    except ValueError:
        raise InputError(f"{what} is {str(value)[:40]!r}", expected="a number", fix="send such a number") from None


def _read_change(document: object, person: Person) -> NewChange:
    if not isinstance(document, dict):
        raise InputError("a change is no object", expected='{"id", "item", "action", "value"}', fix="send it so")
    action, duration, seen = document.get("action"), document.get("duration_s", 0.0), document.get("seen")
    if action not in PEOPLE_ACTIONS:
        raise InputError(f"the action is {action!r}", expected=", ".join(PEOPLE_ACTIONS), fix="choose one of these")
    if isinstance(duration, bool) or not isinstance(duration, int | float):
        raise InputError("duration_s is no number", expected="seconds", fix="leave it out, or mend it")
    return NewChange(
        str(document.get("id") or ""), person.name, _whole(document.get("item"), "item"), action, document.get("value"),  # type: ignore[arg-type]
        str(document.get("comment") or ""), None if seen is None else _whole(seen, "seen"), float(duration), "page",
        "shown" if document.get("suggestion") == "shown" else "hidden",
    )  # fmt: skip
