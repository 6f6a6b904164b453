"""Bad input as scikit-learn's tools expect it: a ValueError, with the words of this package."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from deepseek.errors import InputError


class EstimatorInputError(InputError, ValueError):
    """An InputError that `except ValueError` catches, as GridSearchCV and check_estimator do."""


@contextmanager
def value_errors() -> Iterator[None]:
    """Within it an InputError is a ValueError, too. What is no fault of the input (CheckError) stays what it is."""
    try:
        yield
    except InputError as error:
        raise EstimatorInputError(error.message, expected=error.expected, fix=error.fix) from error
