"""Never a pickle, and no safetensors header that lies."""

from __future__ import annotations

import io
import json
import pickle  # noqa: TID251 - made here only to be refused
import struct
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors

from deepseek.bundle import Manifest, verify_bundle, write_bundle
from deepseek.bundle.contents import MAX_HEADER_BYTES, content_problem
from deepseek.bundle.manifest import canonical_json
from deepseek.errors import InputError

GOOD = {"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}


def problem_of(name: str, data: bytes) -> str | None:
    return content_problem(name, io.BytesIO(data), len(data))


class Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("run by loading",)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("harmful", [Harmful(), [Harmful()], [[Harmful()]]])
def test_a_pickle_is_found_by_its_first_bytes_in_every_protocol(protocol: int, harmful: object) -> None:
    data = pickle.dumps(harmful, protocol)
    problem = problem_of("notes.txt", data)
    assert problem is not None
    assert "notes.txt" in problem


@pytest.mark.parametrize("part", [b"(", b"q(", b"Vq\n", b"p1\n", b"p1", b"X(\0\0\0", b"(((c", b"\n"])
def test_no_head_makes_the_search_for_a_pickle_slow(part: bytes) -> None:
    start_s = time.process_time()
    problem_of("notes.txt", part * 256)
    assert time.process_time() - start_s < 0.1


def test_a_zip_as_torch_saves_it_is_refused() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("model/data.pkl", b"\x80\x02}q\x00.")
    assert "zip archive" in str(problem_of("weights/pytorch_model.bin", buffer.getvalue()))


def test_a_numpy_file_of_objects_is_refused_and_one_of_numbers_is_not() -> None:
    import numpy as np

    for values, refused in ((np.array([{}], dtype=object), True), (np.zeros(3), False)):
        buffer = io.BytesIO()
        np.save(buffer, values, allow_pickle=True)
        assert bool(problem_of("a.npy", buffer.getvalue())) is refused


@pytest.mark.parametrize("name", ["m.pkl", "m.PICKLE", "m.joblib", "m.pt", "a/m.pth", "m.ckpt", "m.pkl.gz", "m.npz"])
def test_a_name_of_a_pickle_is_refused_whatever_it_holds(name: str) -> None:
    assert name in str(problem_of(name, b"{}"))


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"copy\nthis\n", b"cffi\npandas\npyarrow\n", b"PAR1", b"\x80", b"\x08\x07"]
)
def test_ordinary_files_are_not_taken_for_pickles(data: bytes) -> None:
    assert problem_of("licences.txt", data) is None


def test_a_safetensors_file_whose_length_looks_like_a_pickle_is_fine(make_tensors: Callable[..., bytes]) -> None:
    data = make_tensors(GOOD, bytes(8), pad_to=0x0480)
    assert data[:2] == b"\x80\x04"
    assert problem_of("w.safetensors", data) is None
    safetensors.deserialize(data)


@pytest.mark.parametrize(
    "header",
    [
        {"w": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}},
        {"w": {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}},
        {"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8.0]}},
        {"w": {"dtype": "F32", "shape": [2], "data_offsets": [1, 9]}},
        {"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}},
        {"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}},
        {"w": {"dtype": "OBJECT", "shape": [2], "data_offsets": [0, 8]}},
        {"w": {"shape": [2], "data_offsets": [0, 8]}},
        {"w": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}},
        {"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8, 9]}},
        {"w": [1]}, {"w": {"dtype": [], "shape": [2], "data_offsets": [0, 8]}},
        {**GOOD, "v": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}},
    ],
)  # fmt: skip
def test_a_header_that_does_not_fit_its_tensors_is_refused(
    header: dict[str, object], make_tensors: Callable[..., bytes]
) -> None:
    assert "w.safetensors" in str(problem_of("w.safetensors", make_tensors(header, bytes(8))))


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\x01", struct.pack("<Q", 2**63) + b"{}", struct.pack("<Q", 3) + b"{}", struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 4) + b"\xff\xff\xff\xff", struct.pack("<Q", 60_000) + b"[" * 60_000,
        pickle.dumps({"a": 1}),
    ],
)  # fmt: skip
def test_bytes_that_are_no_safetensors_file_are_refused(data: bytes) -> None:
    assert "w.safetensors" in str(problem_of("w.safetensors", data))


def test_a_header_over_the_limit_is_refused_unread(make_tensors: Callable[..., bytes]) -> None:
    data = make_tensors(GOOD, bytes(8), pad_to=MAX_HEADER_BYTES + 1)
    assert f"more than {MAX_HEADER_BYTES}" in str(problem_of("w.safetensors", data))
    assert problem_of("w.safetensors", make_tensors(GOOD, bytes(8), pad_to=MAX_HEADER_BYTES)) is None


def test_a_pickle_is_refused_when_written_and_when_found(
    tmp_path: Path, manifest: Manifest, files: dict[str, bytes]
) -> None:
    import hashlib

    data = pickle.dumps({"a": 1})
    with pytest.raises(InputError, match=r"weights/extra is a pickle"):
        write_bundle(tmp_path / "out", manifest, {**files, "weights/extra": data})
    path = write_bundle(tmp_path / "out", manifest, {**files, "note": b"x"}).path
    (path / "note").write_bytes(data)
    top = json.loads((path / "bundle.json").read_bytes())
    top.pop("manifest_sha256")
    top["files"]["note"] = hashlib.sha256(data).hexdigest()
    (path / "bundle.json").write_bytes(
        canonical_json({**top, "manifest_sha256": hashlib.sha256(canonical_json(top)).hexdigest()})
    )
    assert verify_bundle(path) == ["note is a pickle; a bundle never holds one"]
