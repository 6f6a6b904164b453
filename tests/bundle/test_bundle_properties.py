"""Whatever is done to a bundle's folder is refused, by name."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deepseek.bundle import Bundle, Manifest, open_bundle, verify_bundle, write_bundle
from deepseek.bundle.paths import MANIFEST, SIGNATURE, folders_of, path_problem
from deepseek.bundle.sign import generate_keys
from deepseek.errors import DeepseekError

FOLDERS = itertools.count()
quick = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate_keys(tmp_path_factory.mktemp("keys") / "key")[0]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, manifest: Manifest, files: dict[str, bytes], key: Path) -> Bundle:
    """A signed bundle. Each example changes a copy."""
    return write_bundle(tmp_path_factory.mktemp("whole") / "loans", manifest, files, key=key)


@contextmanager
def a_copy(whole: Bundle) -> Iterator[Path]:
    path = whole.path.with_name(f"copy{next(FOLDERS)}")
    shutil.copytree(whole.path, path)
    try:
        yield path
    finally:
        shutil.rmtree(path)


def refusal(path: Path, name: str, key: Path) -> list[str]:
    """What verify says, which must name the file; reading every file must not succeed either."""
    problems = verify_bundle(path)
    assert problems
    assert all(len(problem) < 2_000 for problem in problems)
    assert any(name in problem for problem in problems), problems
    with pytest.raises(DeepseekError, match=Path(name).name.replace(".", r"\.")):
        read_all(path, key)
    return problems


def read_all(path: Path, key: Path) -> None:
    bundle = open_bundle(path, key=key.with_name("key.pub"))
    for name in bundle.manifest.files:
        bundle.read(name)


def test_the_copy_alone_is_fine(whole: Bundle, key: Path) -> None:
    with a_copy(whole) as path:
        assert verify_bundle(path) == verify_bundle(path, key=key.with_name("key.pub")) == []
        read_all(path, key)


@pytest.mark.slow
@quick
@given(data=st.data())
def test_any_flipped_byte_is_refused(whole: Bundle, key: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(whole.sizes)))
    at = data.draw(st.integers(0, whole.sizes[name] - 1))
    flip = data.draw(st.integers(1, 255))
    with a_copy(whole) as path:
        content = bytearray((path / name).read_bytes())
        content[at] ^= flip
        (path / name).write_bytes(content)
        refusal(path, name, key)


@pytest.mark.slow
@quick
@given(data=st.data())
def test_any_cut_or_added_end_is_refused(whole: Bundle, key: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(whole.sizes)))
    with a_copy(whole) as path:
        content = (path / name).read_bytes()
        cut = content[: data.draw(st.integers(0, len(content) - 1))]
        (path / name).write_bytes(data.draw(st.sampled_from([cut, content + b"\0", content + b"\n", content * 2])))
        refusal(path, name, key)


@pytest.mark.parametrize("name", [MANIFEST, "model.json", "weights/part-0.safetensors", "evidence/metrics.json"])
def test_any_missing_file_is_refused(whole: Bundle, key: Path, name: str) -> None:
    with a_copy(whole) as path:
        (path / name).unlink()
        refusal(path, name, key)


def test_a_missing_signature_is_refused_only_with_a_key(whole: Bundle, key: Path) -> None:
    with a_copy(whole) as path:
        (path / SIGNATURE).unlink()
        assert verify_bundle(path) == []
        assert SIGNATURE in verify_bundle(path, key=key.with_name("key.pub"))[0]


PART = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=8)


@pytest.mark.slow
@quick
@given(parts=st.lists(PART, min_size=1, max_size=3), is_folder=st.booleans(), content=st.binary(max_size=9))
def test_any_extra_file_or_folder_is_refused(
    whole: Bundle, key: Path, parts: list[str], is_folder: bool, content: bytes
) -> None:
    name = "/".join(parts)
    taken = {*whole.sizes, *folders_of(whole.sizes)}
    if name in taken or {".", ".."} & set(parts) or folders_of([name]) & whole.sizes.keys():
        return
    with a_copy(whole) as path:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        if is_folder:
            (path / name).mkdir()
        else:
            (path / name).write_bytes(content)
        problems = verify_bundle(path)
        assert any(repr(name) in problem for problem in problems)
        with pytest.raises(DeepseekError):
            read_all(path, key)


@quick
@given(data=st.data())
def test_any_link_is_refused(whole: Bundle, key: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted({*whole.sizes, "weights", "evidence"})))
    with a_copy(whole) as path:
        target = data.draw(st.sampled_from([whole.path / name, path / MANIFEST, Path("/etc/passwd"), Path("/nowhere")]))
        if (path / name).is_dir():
            shutil.rmtree(path / name)
        else:
            (path / name).unlink()
        (path / name).symlink_to(target)
        refusal(path, name, key)


@quick
@given(data=st.data())
def test_two_files_swapped_are_refused(whole: Bundle, key: Path, data: st.DataObject) -> None:
    one, other = data.draw(st.lists(st.sampled_from(sorted(whole.manifest.files)), min_size=2, max_size=2, unique=True))
    with a_copy(whole) as path:
        kept = (path / one).read_bytes()
        (path / one).write_bytes((path / other).read_bytes())
        (path / other).write_bytes(kept)
        problems = verify_bundle(path)
        assert all(any(name in problem for problem in problems) for name in (one, other))
        with pytest.raises(DeepseekError):
            read_all(path, key)


@settings(max_examples=400)
@given(
    content=st.one_of(st.binary(max_size=60), st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace")))
)
def test_any_bytes_as_a_manifest_are_refused_by_name(content: bytes) -> None:
    with pytest.raises(DeepseekError, match=r"bundle\.json"):
        Manifest.from_bytes(content)


@settings(max_examples=400)
@given(name=st.lists(st.sampled_from(["..", ".", "", "a", "é", "C:", "\\", "\0", " ", "b."]), min_size=1).map("/".join))
def test_a_name_that_is_accepted_stays_in_the_folder(name: str) -> None:
    if path_problem(name) is None:
        assert (Path("/bundle") / name).resolve().is_relative_to("/bundle")
        assert str(Path(name)) == name
