"""Who may label: names, roles and keys. Only the sha256 of a key is kept.

Without people a project is open: whoever reaches the page gives a name. With people everybody needs a key.

    labeler            labels, and sees what they have labeled themselves
    reviewer, owner    also see what others have labeled; where people disagree, their label decides

People are added and removed by whoever has the folder, with `deepseek label people`, and not over HTTP.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import get_args

from deepseek.automl.label.project.records import Person, Role
from deepseek.automl.label.project.store import LabelStore
from deepseek.errors import InputError
from deepseek.http_errors import UnauthorizedError

NAME = re.compile(r"[\w][\w .@-]{0,63}")
KEY_BYTES = 24


def check_name(name: str) -> str:
    """The name as it is kept."""
    clean = name.strip()
    if not NAME.fullmatch(clean):
        raise InputError(
            f"{name[:40]!r} is no name of a person", expected="1 to 64 letters, digits, blanks and . @ _ -",
            fix="give such a name",
        )  # fmt: skip
    return clean


def list_people(store: LabelStore) -> list[Person]:
    rows = store.connection.execute("SELECT name, role, key_digest IS NOT NULL FROM people ORDER BY name")
    return [Person(name, role, bool(has_key)) for name, role, has_key in rows]


def add_person(store: LabelStore, name: str, role: Role) -> str:
    """Add a person, or give one another role and a new key. Returns the key, which nobody can read again."""
    name = check_name(name)
    if role not in get_args(Role):
        raise InputError(f"{role!r} is no role", expected=", ".join(get_args(Role)), fix="choose one of these")
    key = secrets.token_urlsafe(KEY_BYTES)
    with store.transaction() as run:
        run.execute(
            "INSERT INTO people VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET role = excluded.role, "
            "key_digest = excluded.key_digest",
            (name, role, _digest(key)),
        )
    return key


def remove_person(store: LabelStore, name: str) -> None:
    """From now on the key of this person opens nothing; the labels stay. InputError for nobody of that name, and for
    the last person, after whom the project would be open to everybody."""
    with store.transaction() as run:
        names = [row[0] for row in run.execute("SELECT name FROM people")]
        if name not in names:
            raise InputError(f"there is nobody called {name!r}", expected=", ".join(names) or "nobody yet", fix="look")
        if len(names) == 1:
            raise InputError(
                f"{name} is the last person: the project would be open to everybody", expected="one person more",
                fix="add another one before",
            )  # fmt: skip
        run.execute("DELETE FROM people WHERE name = ?", (name,))


def identify(store: LabelStore, key: str | None, name: str | None) -> Person:
    """Who asks: by key where the project has people, else by the name that they give. UnauthorizedError for an unknown
    key, and for none where one is needed; InputError for no name."""
    has_people = store.connection.execute("SELECT EXISTS (SELECT 1 FROM people)").fetchone()[0]
    if has_people:
        row = store.connection.execute(
            "SELECT name, role FROM people WHERE key_digest = ?", (_digest(key or ""),)
        ).fetchone()
        if row is None:
            raise UnauthorizedError(
                "a key is needed" if not key else "the key is not known",
                expected="the key of a person of this project",
                fix="ask the owner: deepseek label people PROJECT --add NAME",
            )  # fmt: skip
        return Person(row[0], row[1], has_key=True)
    return Person(check_name(name or ""), "labeler", has_key=False)  # what others said would lead them


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
