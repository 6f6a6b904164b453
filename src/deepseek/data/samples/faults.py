"""Every file of a table that cannot be read, named at once: whoever mends one at a time runs as often as there are.

except FILE_ERRORS as error:
    raise name_all_faults(error, find_faults(preparer, table, root=root)) from error
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from deepseek.data.media.source import BrokenError
from deepseek.data.samples.preparer import Fault, SamplePreparer, table_records
from deepseek.data.table.table import Table
from deepseek.errors import InputError, MissingError, TooLargeError

#: What a file that cannot be read raises.
FILE_ERRORS = (BrokenError, TooLargeError, MissingError)
MAX_LISTED = 50  # files by name in one error
CHUNK_ROWS = 32  # decoded at a time


class BrokenFilesError(BrokenError):
    """Several files that cannot be read; `faults` has each."""

    def __init__(self, message: str, faults: Sequence[Fault], *, expected: str, fix: str) -> None:
        super().__init__(message, expected=expected, fix=fix)
        self.faults = tuple(faults)


def find_faults(preparer: SamplePreparer, table: Table, *, root: Path | None, first_row: int = 0) -> list[Fault]:
    """Every file of a table that cannot be read, in this process; nothing is scored. Paths lie below `root`; rows are
    counted from `first_row` on."""
    names = {column.name for column in preparer.media}
    media = replace(preparer, table=None)
    files = table.drop([name for name in table.names if name not in names])
    faults: list[Fault] = []
    with suppress(InputError):  # a value that is no file: whoever decodes it says so
        for start in range(0, files.num_rows, CHUNK_ROWS):
            samples = media.rows(
                table_records(files, start, CHUNK_ROWS), root=root, broken="mask", first_row=first_row + start,
                keep_empty=True,
            )  # fmt: skip
            faults += [Fault(first_row + start + f.row, f.column, f.message) for f in samples.faults]
    return faults


def name_all_faults(error: InputError, faults: Sequence[Fault]) -> InputError:
    """The error of the first broken file as one of all of them; the same error where there is no other."""
    if len(faults) < 2:
        return error
    lines = [fault_reason(fault) for fault in faults[:MAX_LISTED]]
    more = f"; and {len(faults) - MAX_LISTED} more" if len(faults) > MAX_LISTED else ""
    return BrokenFilesError(
        f"{len(faults)} files cannot be read: {'; '.join(lines)}{more}",
        faults,
        expected=error.expected,
        fix="mend them or leave their rows out; or mask them, where the verb can (--broken mask)",
    )


def fault_reason(fault: Fault) -> str:
    """What is wrong, without what was expected and how to mend it, which stand behind it in the message."""
    return fault.message.partition(". Expected: ")[0]
