"""The reference picture of a part, found by its name: 0001_test.png has 0001_temp.png beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deepseek.data.labels.pictures import PictureStore, picture_size
from deepseek.errors import InputError, MissingError

ReadReference = Callable[[str], NDArray[np.uint8]]


def parse_template(text: str) -> tuple[str, str]:
    """PART=REFERENCE, two pieces of names.

    >>> parse_template("_test=_temp")
    ('_test', '_temp')
    """
    part, equals, reference = text.partition("=")
    if not (part and equals and reference) or part == reference:
        raise InputError(
            f"--template is {text!r}",
            expected="what stands in the names of parts = what stands in those of references",
            fix="for 0001_test.png beside 0001_temp.png write _test=_temp",
        )  # fmt: skip
    return part, reference


def reference_name(file: str, template: tuple[str, str]) -> str:
    """The name of the reference picture. The last place of the piece counts.

    >>> reference_name("a_test/1_test.png", ("_test", "_temp"))
    'a_test/1_temp.png'
    """
    head, piece, tail = file.rpartition(template[0])
    if not piece:
        raise InputError(
            f"{file} has no {template[0]!r} in its name", expected="the name of a part", fix="correct --template"
        )
    return head + template[1] + tail


def reference_reader(store: PictureStore, template: tuple[str, str]) -> ReadReference:
    """Reads the reference of a part. MissingError where it is not there, InputError where it has another size."""

    def read(file: str) -> NDArray[np.uint8]:
        name = reference_name(file, template)
        folder = Path(store.folder)
        if not (folder / name).is_file():
            raise MissingError(f"{file} has no reference picture {name}", expected="one beside it", fix="add it")
        part, reference = (picture_size(folder / each) for each in (file, name))
        if part != reference:
            raise InputError(
                f"{file} has {part[0]} x {part[1]} pixels and its reference {name} {reference[0]} x {reference[1]}",
                expected="the same size", fix="take both pictures with the same camera, or scale one of them",
            )  # fmt: skip
        return store.read(name)

    return read
