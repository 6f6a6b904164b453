"""From Arrow's columns to a Table's: one type for each, what cannot be a column is refused by name.

    from_arrow(pyarrow_table)         # typed columns keep their types
    text_column(chunked_strings)      # a column of a CSV: the type is found from all of its cells

Text is trimmed, and the words for "no value" (values.NULL_WORDS) are missing, whatever the file.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.data.table import Table, Type
from deepseek.data.values import EXACT, LARGEST, NULL_WORDS, moment_of
from deepseek.errors import InputError, TooLargeError
from deepseek.extras import need

MAX_COLUMNS = 5_000
MAX_NAME = 500  # letters in the name of a column
_SAMPLE = 20  # cells that must look like dates before all are tried
_TRUE, _FALSE = ["true", "True", "TRUE"], ["false", "False", "FALSE"]

Read = tuple[Type, NDArray[Any], str]  # type, values, a note or ""


def from_arrow(table: Any, *, cells: bool = False, decimal_comma: bool = False) -> Table:
    """A Table of a pyarrow.Table. `cells` says that all is text whose type is to be found, as in a CSV, and
    `decimal_comma` that 1,5 may be a number there.

    InputError names the column that is nested, binary or there twice.
    """
    pa = need("pyarrow", extra="tabular")
    names = check_names([str(name) for name in table.column_names])
    columns: dict[str, NDArray[Any]] = {}
    types: dict[str, Type] = {}
    notes: list[str] = []
    for name, chunked in zip(names, table.columns, strict=True):
        try:
            read = text_column(chunked, decimal_comma=decimal_comma) if cells else _read(name, _decoded(chunked))
        except pa.ArrowException as error:
            reason = str(error)[:200]
            raise InputError(
                f"column {name!r} cannot be read: {reason}",
                expected="values of the column's type",
                fix=f"leave {name!r} out",
            ) from error
        types[name], columns[name], note = read
        if note:
            notes.append(f"column {name!r} {note}")
    return Table(columns, types, tuple(notes))


def check_names(names: list[str]) -> list[str]:
    """The names, without blanks around them. InputError for too many, too long, empty or equal ones."""
    if not names:
        raise InputError("the table has no columns", expected="at least two named columns", fix="give columns")
    if len(names) > MAX_COLUMNS:
        raise TooLargeError(
            f"the table has too many columns: {len(names)}",
            expected=f"at most {MAX_COLUMNS}",
            fix="keep the columns that matter, or reduce them first (principal components, sums by group)",
        )
    found = [name.strip() or f"unnamed_{place}" for place, name in enumerate(names, 1)]
    seen: set[str] = set()
    for place, name in enumerate(found, 1):
        if name in seen:
            raise InputError(
                f"column {name!r} is there twice", expected="one name for each", fix="rename one of the two"
            )
        if len(name) > MAX_NAME:
            raise InputError(
                f"the name of column {place} has {len(name)} letters", expected=f"at most {MAX_NAME}", fix="rename it"
            )
        if "\x00" in name or any("\ud800" <= letter <= "\udfff" for letter in name):
            raise InputError(
                f"the name of column {place} is not text: {name[:40]!r}",
                expected="letters that can be written as UTF-8",
                fix="rename it",
            )
        seen.add(name)
    return found


def _read(name: str, chunked: Any) -> Read:
    """A typed column."""
    pa = need("pyarrow", extra="tabular")
    kind = chunked.type
    if pa.types.is_null(kind):
        return "number", np.full(len(chunked), np.nan), ""
    if pa.types.is_boolean(kind):
        return "boolean", _floats(chunked.cast(pa.int8())), ""
    if pa.types.is_integer(kind):
        return _whole(chunked)
    if pa.types.is_floating(kind):
        values = _floats(chunked)
        return "number", values, _overflow(values)
    if pa.types.is_decimal(kind):
        return "number", _floats(chunked.cast(pa.float64())), ""
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return _dated(chunked)
    if _is_text(kind):
        return "text", _texts(_utf8(name, chunked)), ""
    raise InputError(
        f"column {name!r} is of type {kind}",
        expected="numbers, true or false, text, dates or times with a date",
        fix=f"turn {name!r} into such columns, or leave it out of the file",
    )


def text_column(strings: Any, *, decimal_comma: bool = False) -> Read:
    """A column of text cells (a CSV): numbers, true/false or dates when every cell is one, else text.

    Numbers with leading zeros (007) or too many digits for float64 are codes: they stay text.
    """
    pc = need("pyarrow.compute", extra="tabular")
    strings = _nulls(pc.utf8_trim_whitespace(strings))
    if strings.null_count == len(strings):
        return "number", np.full(len(strings), np.nan), ""
    found = _as_numbers(strings) or _as_booleans(strings) or _as_moments(strings)
    if found is None and decimal_comma:
        found = _as_comma_numbers(strings)
    return found or ("text", _texts(strings), "")


def _as_numbers(strings: Any) -> Read | None:
    pa, pc = need("pyarrow", extra="tabular"), need("pyarrow.compute", extra="tabular")
    try:
        values = _floats(pc.cast(strings, pa.float64()))
    except pa.ArrowInvalid:
        return None
    if pc.any(pc.match_substring_regex(strings, r"^[-+]?0[0-9]")).as_py():
        return "text", _texts(strings), "has numbers with leading zeros; it is read as text"
    if (
        np.nanmax(np.abs(values), initial=0.0) >= EXACT
        and pc.any(pc.match_substring_regex(strings, r"^[-+]?[0-9]{16,}$")).as_py()
    ):
        return "text", _texts(strings), "has whole numbers too large to be exact; it is read as text"
    return "number", values, _overflow(values)


def _as_comma_numbers(strings: Any) -> Read | None:
    pc = need("pyarrow.compute", extra="tabular")
    if not pc.all(pc.match_substring_regex(strings, r"^[-+]?[0-9]+(,[0-9]+)?$")).as_py():
        return None
    found = _as_numbers(pc.replace_substring(strings, ",", "."))
    return ("number", found[1], "has decimal commas; it is read as numbers") if found and found[0] == "number" else None


def _as_booleans(strings: Any) -> Read | None:
    pa, pc = need("pyarrow", extra="tabular"), need("pyarrow.compute", extra="tabular")
    true, false = (pc.is_in(strings, pa.array(words, strings.type)) for words in (_TRUE, _FALSE))
    if not pc.all(pc.or_(pc.or_(true, false), pc.is_null(strings))).as_py():
        return None
    return "boolean", _floats(pc.if_else(pc.is_null(strings), None, pc.cast(true, pa.int8()))), ""


def _as_moments(strings: Any) -> Read | None:
    pa, pc = need("pyarrow", extra="tabular"), need("pyarrow.compute", extra="tabular")
    sample = strings.drop_null().slice(0, _SAMPLE).to_pylist()
    try:
        for text in sample:
            moment_of(text)
    except (ValueError, OverflowError):
        return None
    for kind in (pa.timestamp("us"), pa.timestamp("us", "UTC")):
        try:
            return _dated(pc.cast(strings, kind))
        except pa.ArrowInvalid:
            continue
    return _parsed(strings)


def _parsed(strings: Any) -> Read | None:
    """Dates that Arrow does not read (2018/4/1), each distinct text once."""
    distinct = strings.unique().to_pylist()
    try:
        found = {text: moment_of(text) for text in distinct}
    except (ValueError, OverflowError):
        return None
    whole = [found[text] for text in strings.to_pylist()]
    return "datetime", np.array(whole, "datetime64[ms]"), ""


def _whole(chunked: Any) -> Read:
    """Integers as float64, or as text when float64 would merge some of them."""
    pa, pc = need("pyarrow", extra="tabular"), need("pyarrow.compute", extra="tabular")
    ends = pc.min_max(chunked).as_py()
    if ends["max"] is not None and max(abs(ends["min"]), abs(ends["max"])) > EXACT:
        return "text", _texts(chunked.cast(pa.string())), "has whole numbers too large to be exact; it is read as text"
    return "number", _floats(chunked), ""


def _dated(chunked: Any) -> Read:
    pa = need("pyarrow", extra="tabular")
    zone = getattr(chunked.type, "tz", None)
    unit = getattr(chunked.type, "unit", "ms")
    plain = chunked.cast(pa.timestamp(unit if unit != "day" else "ms"))
    values = plain.to_numpy(zero_copy_only=False).astype("datetime64[ms]")
    return "datetime", values, f"has the time zone {zone}; it is read as UTC" if zone not in (None, "UTC") else ""


def _decoded(chunked: Any) -> Any:
    """Dictionaries, run-end encodings and extensions as what they stand for."""
    pa, pc = need("pyarrow", extra="tabular"), need("pyarrow.compute", extra="tabular")
    kind = chunked.type
    if isinstance(kind, pa.BaseExtensionType) and kind.extension_name.startswith("arrow."):
        return _decoded(pa.chunked_array([chunk.storage for chunk in chunked.chunks], kind.storage_type))
    if pa.types.is_dictionary(kind):
        return _decoded(chunked.cast(kind.value_type))
    if pa.types.is_run_end_encoded(kind):
        return _decoded(pa.chunked_array([pc.run_end_decode(chunk) for chunk in chunked.chunks], kind.value_type))
    return chunked


def _is_text(kind: Any) -> bool:
    types = need("pyarrow", extra="tabular").types
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind) or _is_binary(kind))


def _is_binary(kind: Any) -> bool:
    types = need("pyarrow", extra="tabular").types
    return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind))


def _utf8(name: str, chunked: Any) -> Any:
    """Strings, trimmed, with the words for "no value" as null. Bytes are taken for text when they are UTF-8."""
    pa, pc = need("pyarrow", extra="tabular"), need("pyarrow.compute", extra="tabular")
    try:
        strings = chunked.cast(pa.large_string())
        strings.validate(full=True)
    except pa.ArrowInvalid as error:
        raise InputError(
            f"column {name!r} holds bytes that are not UTF-8", expected="text", fix=f"leave {name!r} out"
        ) from error
    return _nulls(pc.utf8_trim_whitespace(strings))


def _nulls(strings: Any) -> Any:
    pa, pc = need("pyarrow", extra="tabular"), need("pyarrow.compute", extra="tabular")
    gone = pc.is_in(strings, pa.array(sorted(NULL_WORDS), strings.type))
    return pc.if_else(gone, pa.scalar(None, strings.type), strings) if pc.any(gone).as_py() else strings


def _floats(chunked: Any) -> NDArray[np.float64]:
    """float64 that may be written to, missing as NaN."""
    pa = need("pyarrow", extra="tabular")
    return np.array(chunked.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), np.float64)


def _texts(strings: Any) -> NDArray[Any]:
    """Python strings; equal ones are one object, which keeps a long column of few levels small."""
    if len(strings) == 0:
        return np.empty(0, object)
    coded = strings.combine_chunks().dictionary_encode()
    distinct = np.array([*coded.dictionary.to_pylist(), None], object)
    codes = coded.indices.fill_null(len(distinct) - 1).to_numpy(zero_copy_only=False)
    return np.asarray(distinct[codes], object)


def _overflow(values: NDArray[np.float64]) -> str:
    num_odd = int(np.sum(np.abs(values) > LARGEST))
    return f"has {num_odd} infinite or very large numbers, which count as missing" if num_odd else ""
