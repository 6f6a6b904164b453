"""What people say of items, kept one transaction at a time.

    store.record(NewChange("6f1c", "ann", 17, "label", "dog", seen=0))     # on the disk when it returns
    store.record(NewChange("6f1c", "ann", 17, "label", "dog", seen=0))     # sent again: nothing changes
    store.undo("9a40", "ann")                                              # the last thing that ann did
    store.next_items("ann", 5)                                             # leased to ann for a while

A store is used in one thread; several of them, in several processes, share the file.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

from deepseek.automl.label.project.audit import COLUMNS, chain_digest, read_change, state_of
from deepseek.automl.label.project.records import (
    Change,
    Definition,
    Item,
    Label,
    LabelConflictError,
    LabelValue,
    NewChange,
    QueuedItem,
    Suggestion,
)
from deepseek.automl.label.project.schema import storage_error
from deepseek.automl.label.project.values import check_value
from deepseek.errors import InputError, MissingError
from deepseek.files import immediate_transaction

LEASE_S = 900.0  # an example that was shown to somebody is not shown to others for so long
MAX_ITEMS = 200  # of one call of next_items()
MAX_COMMENT = 4_000
MAX_ID = 100
ITEM_COLUMNS = "number, key, content, is_test, same_as, fault"
#: Of the items that are asked, one in so many is drawn from those to test on, until all of them are labeled.
TEST_TURN = 3

_IS_OPEN = """
WHERE is_test = ? AND same_as IS NULL AND fault = ''
  AND NOT EXISTS (SELECT 1 FROM labels WHERE item = number AND person = ?)
  AND (SELECT COUNT(*) FROM labels WHERE item = number AND state = 'label')
    + (SELECT COUNT(*) FROM leases WHERE item = number AND person <> ?) < num_wanted
"""
_QUEUED = f"SELECT number FROM queue CROSS JOIN items ON number = item {_IS_OPEN} ORDER BY queue.place"  # noqa: S608  (constants)
_BY_CHANCE = f"SELECT number FROM items {_IS_OPEN} ORDER BY place"  # noqa: S608


class LabelStore:
    """Items and labels of one project behind one connection."""

    def __init__(self, connection: sqlite3.Connection, definition: Definition) -> None:
        self._connection, self.definition = connection, definition

    def close(self) -> None:
        self._connection.close()

    def item(self, number: int) -> Item:
        """MissingError where there is none."""
        row = self._connection.execute(f"SELECT {ITEM_COLUMNS} FROM items WHERE number = ?", (number,)).fetchone()  # noqa: S608
        if row is None:
            raise MissingError(f"there is no item {number}", expected="an item of this project", fix="ask for the next")
        return _read_item(row)

    def items(self) -> Iterator[Item]:
        """All items, in the order of the data."""
        for row in self._connection.execute(f"SELECT {ITEM_COLUMNS} FROM items ORDER BY number"):  # noqa: S608
            yield _read_item(row)

    def labels(self, item: int | None = None) -> list[Label]:
        """What everybody last said, of one item or of all, in the order of items and names."""
        where, values = ("WHERE item = ?", (item,)) if item is not None else ("", ())
        rows = self._connection.execute(
            f"SELECT item, person, state, value, comment, change FROM labels {where} ORDER BY item, person",  # noqa: S608
            values,
        )
        return [_read_label(row) for row in rows]

    def record(self, change: NewChange) -> Change:
        """Keep what a person says. InputError for a label that does not fit, LabelConflictError where the person has
        said something else since `seen`; then nothing is changed."""
        return self.record_all([change])[0]

    def record_all(self, changes: Sequence[NewChange]) -> list[Change]:
        """Keep several changes: all of them, or none where one is refused."""
        values = [self._check(change) for change in changes]
        with self.transaction() as run:
            return [self._record(run, change, value) for change, value in zip(changes, values, strict=True)]

    def undo(self, identity: str, person: str, origin: str = "page") -> Change:
        """Take back the last thing that `person` did and has not taken back. InputError where nothing is left."""
        with self.transaction() as run:
            new = NewChange(identity, person, 0, "undo", origin=origin)
            _check_change(new)
            if (repeated := self._find_repeat(run, new)) is not None:
                return repeated
            row = run.execute(
                f"SELECT {COLUMNS} FROM changes AS c WHERE person = ? AND action <> 'undo' "  # noqa: S608
                "AND NOT EXISTS (SELECT 1 FROM changes WHERE undoes = c.number) ORDER BY number DESC LIMIT 1",
                (person,),
            ).fetchone()
            if row is None:
                raise InputError(
                    f"{person} has nothing left to take back", expected="a label, skip or comment before",
                    fix="label the next example",
                )  # fmt: skip
            last = read_change(row)
            current = self._current(run, last.item, person)
            return self._append(run, replace(new, item=last.item), current, last.before, undoes=last.number)

    def next_items(
        self, person: str, num: int = 1, exclude: Sequence[int] = (), now_s: float | None = None
    ) -> list[Item]:
        """The next items for `person`, leased to them: those of the queue, those to test on in between, then the rest
        in an order drawn at random. Empty where all is done. `exclude`: items that the page holds already."""
        if not 1 <= num <= MAX_ITEMS:
            raise InputError(f"{num} items", expected=f"1 to {MAX_ITEMS}", fix="ask for fewer")
        now = time.time() if now_s is None else now_s
        left_out = set(exclude)
        with self.transaction() as run:
            run.execute("DELETE FROM leases WHERE until_s <= ?", (now,))
            test = self._open_numbers(run, person, num, left_out, is_test=True)
            train = self._open_numbers(run, person, num, left_out, is_test=False)
            numbers = self._interleave(run, train, test, num)
            run.executemany(
                "INSERT INTO leases VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET until_s = excluded.until_s",
                [(number, person, now + LEASE_S) for number in numbers],
            )
        return [self.item(number) for number in numbers]

    def release(self, person: str) -> None:
        """Give back what was leased to `person`: the page was closed."""
        with self.transaction() as run:
            run.execute("DELETE FROM leases WHERE person = ?", (person,))

    def set_queue(self, items: Sequence[QueuedItem], suggestions: Sequence[Suggestion]) -> None:
        """Put a new queue and new suggestions in the place of the old ones. Items to test on are refused."""
        with self.transaction() as run:
            tests = {row[0] for row in run.execute("SELECT number FROM items WHERE is_test")}
            if odd := [item.item for item in items if item.item in tests]:
                raise InputError(
                    f"item {odd[0]} is to be tested on", expected="items to learn from",
                    fix="what is tested on was drawn at random beforehand, and is not chosen by a strategy",
                )  # fmt: skip
            run.execute("DELETE FROM queue")
            run.execute("DELETE FROM suggestions")
            run.executemany(
                "INSERT INTO queue (item, score, reason) VALUES (?, ?, ?)",
                [(each.item, each.score, each.reason) for each in items],
            )
            run.executemany(
                "INSERT INTO suggestions VALUES (?, ?, ?, ?)",
                [(each.item, each.value, each.probability, json.dumps(each.reasons)) for each in suggestions],
            )

    def suggestion(self, item: int) -> Suggestion | None:
        """What the model of the last queue says of an item."""
        row = self._connection.execute(
            "SELECT item, value, probability, reasons FROM suggestions WHERE item = ?", (item,)
        ).fetchone()
        if row is None:
            return None
        reasons = tuple((str(name), float(share)) for name, share in json.loads(row[3]))
        return Suggestion(row[0], row[1], row[2], reasons)

    def set_fault(self, item: int, fault: str) -> None:
        """Say that an item cannot be shown, and why; "" that it can be again."""
        with self.transaction() as run:
            run.execute("UPDATE items SET fault = ? WHERE number = ? AND fault <> ?", (fault, item, fault))

    @property
    def connection(self) -> sqlite3.Connection:
        """For reading beside what the methods give."""
        return self._connection

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """One transaction that holds the file from its beginning. StorageError for a disk that does not take it."""
        try:
            with immediate_transaction(self._connection) as run:
                yield run
        except sqlite3.OperationalError as error:
            raise storage_error(f"the label cannot be kept: {error}") from error

    def _check(self, change: NewChange) -> LabelValue:
        """The value of a change as it is kept."""
        _check_change(change)
        item = self.item(change.item)
        return check_value(self.definition, item, change.value) if change.action in ("label", "import") else None

    def _record(self, run: sqlite3.Connection, change: NewChange, value: LabelValue) -> Change:
        if (repeated := self._find_repeat(run, change)) is not None:
            return repeated
        current = self._current(run, change.item, change.person)
        if change.seen is not None and change.seen != (current.change if current else 0):
            raise _conflict_error(change, current)
        return self._append(run, change, current, _state_after(change, value, current))

    def _current(self, run: sqlite3.Connection, item: int, person: str) -> Label | None:
        row = run.execute(
            "SELECT item, person, state, value, comment, change FROM labels WHERE item = ? AND person = ?",
            (item, person),
        ).fetchone()
        return None if row is None else _read_label(row)

    def _find_repeat(self, run: sqlite3.Connection, change: NewChange) -> Change | None:
        """The change that was kept under the same id. InputError where that was another one."""
        row = run.execute(f"SELECT {COLUMNS} FROM changes WHERE id = ?", (change.id,)).fetchone()  # noqa: S608
        if row is None:
            return None
        kept = read_change(row, is_repeat=True)
        is_same_item = change.action == "undo" or kept.item == change.item
        if (kept.person, kept.action) != (change.person, change.action) or not is_same_item:
            raise InputError(
                f"the id {change.id!r} was used for another change", expected="an id of its own for each change",
                fix="send a new one",
            )  # fmt: skip
        return kept

    def _append(
        self,
        run: sqlite3.Connection,
        change: NewChange,
        current: Label | None,
        after: dict[str, object] | None,
        undoes: int | None = None,
    ) -> Change:
        """Write the line of the audit and the label that follows from it."""
        last = run.execute("SELECT number, digest FROM changes ORDER BY number DESC LIMIT 1").fetchone() or (0, "")
        before = None if current is None else state_of(current.state, _dump(current.value), current.comment)
        line = (
            last[0] + 1, change.id, datetime.now(UTC).isoformat(timespec="milliseconds"), change.person, change.item,
            change.action, None if before is None else _dump(before), None if after is None else _dump(after),
            change.origin, float(change.duration_s), change.suggestion, undoes,
        )  # fmt: skip
        row = (*line, chain_digest(last[1], line))
        run.execute("INSERT INTO changes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
        if after is None:
            run.execute("DELETE FROM labels WHERE item = ? AND person = ?", (change.item, change.person))
        else:
            value = None if after["value"] is None else _dump(after["value"])
            run.execute(
                "INSERT INTO labels VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET state = excluded.state, "
                "value = excluded.value, comment = excluded.comment, change = excluded.change",
                (change.item, change.person, after["state"], value, after["comment"], row[0]),
            )
        run.execute("DELETE FROM leases WHERE item = ? AND person = ?", (change.item, change.person))
        return read_change(row)

    def _open_numbers(
        self, run: sqlite3.Connection, person: str, num: int, exclude: set[int], *, is_test: bool
    ) -> list[int]:
        """Items that `person` has not answered, that want one more answer, and that nobody else looks at now: those of
        the queue, then the others in their order of chance, along an index and no farther than is needed."""
        numbers: list[int] = []
        for source in (_QUEUED, _BY_CHANCE):
            left_out = exclude.union(numbers)
            rows = run.execute(f"{source} LIMIT ?", (int(is_test), person, person, num + len(left_out)))
            numbers += [number for (number,) in rows if number not in left_out][: num - len(numbers)]
            if len(numbers) == num:
                break
        return numbers

    def _interleave(self, run: sqlite3.Connection, train: list[int], test: list[int], num: int) -> list[int]:
        """`num` of both, one in TEST_TURN to test on, by how many of each are labeled already."""
        counts = dict(
            run.execute(
                "SELECT is_test, COUNT(DISTINCT item) FROM labels JOIN items ON number = item "
                "WHERE state = 'label' GROUP BY is_test"
            ).fetchall()
        )
        num_train, num_test = counts.get(0, 0), counts.get(1, 0)
        chosen: list[int] = []
        while len(chosen) < num and (train or test):
            wants_test = test and (not train or (num_test + 1) * TEST_TURN <= num_train + num_test + 1)
            chosen.append(test.pop(0) if wants_test else train.pop(0))
            num_test, num_train = (num_test + 1, num_train) if wants_test else (num_test, num_train + 1)
        return chosen


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _read_item(row: tuple[object, ...]) -> Item:
    number, key, content, is_test, same_as, fault = row
    return Item(number, key, json.loads(str(content)), bool(is_test), same_as, fault)  # type: ignore[arg-type]


def _read_label(row: tuple[object, ...]) -> Label:
    item, person, state, value, comment, change = row
    parsed: LabelValue = None if value is None else json.loads(str(value))
    return Label(item, person, state, parsed, comment, change)  # type: ignore[arg-type]


def _check_change(change: NewChange) -> None:
    if not change.id or len(change.id) > MAX_ID:
        raise InputError("the change has no id", expected=f"1 to {MAX_ID} characters", fix="send one, such as a UUID")
    if len(change.comment) > MAX_COMMENT:
        raise InputError(
            f"the comment has {len(change.comment)} characters", expected=f"at most {MAX_COMMENT}", fix="shorten it"
        )
    if not 0 <= change.duration_s < 86_400:
        raise InputError(
            f"duration_s is {change.duration_s}", expected="seconds, from 0 to a day", fix="leave it out, or mend it"
        )


def _state_after(change: NewChange, value: LabelValue, current: Label | None) -> dict[str, object]:
    """What the label is after a change. A comment leaves the rest as it was."""
    if change.action == "comment":
        if current is None:
            raise InputError(
                "there is nothing to comment on", expected="a label, a skip or unsure, with a comment",
                fix="send the comment with it",
            )  # fmt: skip
        return {"state": current.state, "value": current.value, "comment": change.comment}
    state = "label" if change.action == "import" else change.action
    return {"state": state, "value": value, "comment": change.comment or (current.comment if current else "")}


def _conflict_error(change: NewChange, current: Label | None) -> LabelConflictError:
    now = (
        "taken back"
        if current is None
        else f"{current.state} {_dump(current.value) if current.value is not None else ''}"
    )
    return LabelConflictError(
        f"{change.person} has changed item {change.item} elsewhere since it was shown: it is {now.strip()} now",
        expected=f"change {current.change if current else 0} as the last that was seen",
        fix="look at it again: keep what is there, or send yours with seen set to that number",
    )
