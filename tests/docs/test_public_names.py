"""Every public name says what it is for, in more words than its own."""

from __future__ import annotations

import pytest
from website.public_api import constant_comment, members, only_repeats, public_names, rooms

ROOMS = rooms()


def test_rooms_with_public_names_are_found() -> None:
    assert {"", "bundle", "citations", "client", "errors", "explain", "sklearn", "train"} <= set(ROOMS)


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room or "deepseek")
def test_each_public_name_is_documented_by_more_than_its_name(room: str) -> None:
    missing, repeated = [], []
    for public in public_names(room):
        texts = [(public.name, public.summary)]
        texts += [(f"{public.name}.{name}", docstring) for name, docstring in members(public)]
        for name, docstring in texts:
            if not docstring:
                missing.append(name)
            elif only_repeats(name, docstring):
                repeated.append(f"{name}: {docstring.splitlines()[0]}")
    assert (missing, repeated) == ([], [])


def test_a_docstring_that_repeats_the_name_is_seen() -> None:
    assert only_repeats("Corpus.read", "Reads the corpus.")
    assert only_repeats("write_page", "Write a page.")
    assert not only_repeats("write_page", "The text as one offline file; OSError where the folder is full.")


def test_the_comment_of_a_constant_is_its_documentation() -> None:
    assert constant_comment("deepseek.errors", "nothing_here") == ""
    comment = constant_comment("deepseek.serve.core.config", "ENVIRONMENT")
    assert comment == "Variable of the environment -> field of Settings."
