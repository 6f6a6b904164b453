"""The one tree of errors. Each class owns its exit code for the shell and its status for HTTP.

A message says what is wrong; `expected` says what was expected; `fix` says what to do:

>>> error = InputError("column 'age' is missing", expected="columns age, income", fix="add the column 'age'")
>>> error.exit_code, error.status
(2, 422)
>>> print(error)
column 'age' is missing. Expected: columns age, income. To mend it: add the column 'age'.
"""

from __future__ import annotations


def _sentence(text: str) -> str:
    """With one mark at its end.

    >>> _sentence("there is no model 'lonas'. Did you mean 'loans'?"), _sentence("it is missing.")
    ("there is no model 'lonas'. Did you mean 'loans'?", 'it is missing.')
    """
    return text if text.endswith(("?", "...")) else text.rstrip(".") + "."


class DeepseekError(Exception):
    """Anything that this package raises on purpose. Raised bare, it is a bug of ours."""

    exit_code = 1
    status = 500
    code = "internal"

    def __init__(self, message: str, *, expected: str = "", fix: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.expected = expected
        self.fix = fix

    def __str__(self) -> str:
        text = _sentence(self.message)
        if self.expected:
            text += f" Expected: {_sentence(self.expected)}"
        if self.fix:
            text += f" To mend it: {_sentence(self.fix)}"
        return text

    def to_dict(self) -> dict[str, str]:
        """The value of "error" in an HTTP error body and in the --json output of a failed verb."""
        return {"code": self.code, "message": self.message, "expected": self.expected, "fix": self.fix}


class InputError(DeepseekError):
    """What the user gave cannot be used: a column, a value, a file, an option."""

    exit_code = 2
    status = 422
    code = "bad_input"


class MalformedError(InputError):
    """Bytes that do not parse: JSON, CSV, a header."""

    status = 400
    code = "malformed"


class MissingError(InputError):
    """A model, version, file or route that is not there."""

    status = 404
    code = "not_found"


class TooLargeError(InputError):
    """A body, a row count or a header above the stated limit."""

    status = 413
    code = "too_large"


class ExtraError(InputError):
    """A part of the package that is not installed (see extras.need)."""

    status = 501
    code = "not_installed"


class ExplainError(InputError):
    """A model whose answer cannot be explained in the way that was asked for: it goes another way for other data, it
    answers by chance, it has no gradient. The message names the cause where it is known."""

    code = "not_explainable"


class CheckError(DeepseekError):
    """A stated limit or check is not met: parity, a leak, a quality limit."""

    exit_code = 3
    status = 409
    code = "check_failed"


class IntegrityError(CheckError):
    """A bundle that is not what its manifest says. The message names the file."""

    code = "integrity"


class ComputeError(CheckError):
    """A model that could be opened fails on rows that fit it: its graph is damaged, or the memory does not suffice."""

    status = 500
    code = "compute_failed"


class NonFiniteError(CheckError):
    """An answer, an explanation or a figure that would hold NaN or an infinite number. The model fails the check that
    all of its answers are finite, hence the exit code; the request was in order, hence the status."""

    status = 500
    code = "non_finite"


class StorageError(CheckError):
    """A disk that does not take what must be kept: it is full, it fails, or others hold the folder."""

    status = 507
    code = "storage"


class BusyError(DeepseekError):
    """The queue is full; ask again later."""

    retry_after_s = 0  # whole seconds; 0 where whoever raises it does not know
    exit_code = 3
    status = 429
    code = "overloaded"


class DeadlineError(DeepseekError):
    """The request's deadline has passed before it was computed."""

    exit_code = 3
    status = 504
    code = "deadline"


class DrainingError(DeepseekError):
    """The server is stopping and takes no new requests."""

    exit_code = 3
    status = 503
    code = "draining"
