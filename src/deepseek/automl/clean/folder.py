"""What is wrong with a folder of files: empty and broken ones, copies, pictures that nearly are, copies of two classes.

    report = find_file_problems(Path("parts"))            # rows are the files in the order of list_files(), from 1
    apply_file_patch(Path("parts"), Path("patch.csv"), Path("parts-clean"))

Where files lie in folders, the folder right above a file is taken for its class. The folder itself is never changed.
"""

from __future__ import annotations

import hashlib
import secrets
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deepseek.automl.clean.findings import CleanFinding, CleanReport, FindingKind
from deepseek.automl.clean.near_duplicates import find_near
from deepseek.automl.clean.patch import AppliedPatch, read_decisions
from deepseek.contracts import Float32
from deepseek.data.media.readers import suffix_kinds
from deepseek.data.media.source import Limits
from deepseek.data.samples.preparer import open_cell
from deepseek.data.table.read import read_table
from deepseek.data.view.media_card import describe_file
from deepseek.errors import DeepseekError, InputError, MissingError, StorageError

TEXT_SUFFIXES = (".txt", ".md")
MAX_TEXT_BYTES = 2**24  # of a file of text
PICTURE_PX = 32  # sides that pictures are compared at
NUM_WAVES = 8  # down and across, whose signs make the hash of a picture
MOST_DIFFERENT = 12  # of the 63 signs
LEAST_LIKENESS = 0.9  # correlation of what is left of two pictures without their light
LEAST_DETAIL = 1.0  # gray levels of that, below which nobody can say


@dataclass(frozen=True, slots=True)
class PicturePrint:
    """What two pictures are compared by, whatever their size, quality and exposure."""

    waves: int  # 63 signs of the slowest waves of a picture (DCT, as pHash has it)
    detail: Float32  # (PICTURE_PX ** 2,) without what is smooth, of length 1


def list_files(folder: Path) -> list[str]:
    """The files below a folder, but hidden ones, by name. MissingError where there is none."""
    names = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    if not names:
        raise MissingError(f"{folder} holds no file", expected="files", fix="look at the name of the folder")
    return names


def find_file_problems(folder: Path) -> CleanReport:
    """Read every file once."""
    names = list_files(folder)
    suffixes = {**dict.fromkeys(TEXT_SUFFIXES, "text"), **suffix_kinds()}
    kinds = [next((kind for end, kind in suffixes.items() if name.lower().endswith(end)), "") for name in names]
    findings: list[CleanFinding] = []
    by_digest: dict[str, list[int]] = defaultdict(list)
    texts: dict[int, str] = {}
    prints: dict[int, PicturePrint] = {}
    for row, (name, kind) in enumerate(zip(names, kinds, strict=True)):
        try:
            by_digest[_check_file(folder, name, kind, row, texts, prints)].append(row)
        except DeepseekError as error:
            findings.append(CleanFinding(row + 1, "broken_file", "drop", 1.0, f"{name}: {error.message}"))
    equal = [rows for rows in by_digest.values() if len(rows) > 1]
    copies = {row for rows in equal for row in rows[1:]}
    near = [*_near_texts(texts, copies), *_near_pictures(prints, copies)]
    findings += [each for rows in equal for each in _describe_copies(names, rows, "the same as")]
    findings += [each for rows in near for each in _describe_copies(names, rows, "nearly the same as")]
    unknown = sum(not kind for kind in kinds)
    notes = (f"{unknown:,} files of unknown kinds were only looked at for being empty or equal",) if unknown else ()
    order = {"label_conflict": 0, "near_duplicate": 1}
    return CleanReport(tuple(sorted(findings, key=lambda each: (order.get(each.kind, 2), each.row))), notes)


def apply_file_patch(folder: Path, patch: Path, out: Path) -> AppliedPatch:
    """Make the folder `out` of all files but those whose removal was accepted; it is there whole or not at all."""
    if out.exists():
        raise InputError(f"{out} is there already", expected="a new folder", fix="choose another --out")
    if out.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"{out} lies in the data itself", expected="a folder beside it", fix="choose another --out")
    names = list_files(folder)
    decisions = read_decisions(patch, folder_digest(folder))
    dropped = {line.row for line in decisions if line.decision == "accept" and line.action == "drop"}
    if odd := [row for row in dropped if not 1 <= row <= len(names)]:
        raise InputError(f"{patch.name} speaks of file {odd[0]} of {len(names)}", expected="a file", fix="mend it")
    part = out.with_name(f".{out.name}.{secrets.token_hex(4)}.part")
    kept = [name for number, name in enumerate(names, 1) if number not in dropped]
    try:
        part.mkdir(parents=True)
        for name in kept:
            (part / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(folder / name, part / name)
        part.rename(out)
    except OSError as error:
        raise StorageError(f"{out} cannot be made: {error.strerror}", expected="room", fix="make room") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return AppliedPatch(len(kept), len(dropped), 0, sum(not line.decision for line in decisions))


def folder_digest(folder: Path) -> str:
    """What a patch knows its folder by: names and contents. A file that cannot be read is known by its name."""
    contents = []
    for name in list_files(folder):
        try:
            contents.append(f"{name}\0{_hash_file(folder / name)[0]}")
        except InputError:
            contents.append(name)
    return hashlib.sha256("\n".join(contents).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _hash_file(path: Path) -> tuple[str, int]:
    """sha256 and size of a file. InputError for one that cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest(), file.tell()
    except OSError as error:
        raise InputError(f"it cannot be read: {error.strerror}", expected="a file", fix="mend its rights") from error


def _check_file(
    folder: Path, name: str, kind: str, row: int, texts: dict[int, str], prints: dict[int, PicturePrint]
) -> str:
    """The sha256 of a file; what is compared with others goes into `texts` and `prints`. DeepseekError for a broken
    one."""
    path = folder / name
    sha, size = _hash_file(path)
    if not size:
        raise InputError("it is empty", expected="a file with content", fix="bring it again, or leave it out")
    if kind == "text":
        texts[row] = _read_text(path, size)
    elif kind:
        source = open_cell(name, kind, root=folder, row=row, column=kind, limits=Limits())
        describe_file(source, kind)
        if kind == "image":
            from deepseek.data.media.image import ImageReader

            pixels = ImageReader(size=(PICTURE_PX, PICTURE_PX), channels=1).read(source)[0]
            if (own := print_picture(pixels)) is not None:
                prints[row] = own
    return sha


def _read_text(path: Path, size: int) -> str:
    if size > MAX_TEXT_BYTES:
        raise InputError(f"it has {size:,} bytes", expected=f"at most {MAX_TEXT_BYTES:,}", fix="cut it into parts")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError("it is no text of UTF-8", expected="UTF-8", fix="save it so") from error
    if not text.strip():
        raise InputError("it is empty but for blanks", expected="a text", fix="leave it out")
    return text


def _near_texts(texts: Mapping[int, str], copies: set[int]) -> list[list[int]]:
    rows = [row for row in texts if row not in copies]
    if len(rows) < 2:
        return []
    groups = find_near(read_table({"text": [texts[row] for row in rows]}), {"text": "text"}, None)
    return [[rows[place] for place in group] for group in groups]


def print_picture(pixels: NDArray[np.uint8]) -> PicturePrint | None:
    """Of (PICTURE_PX, PICTURE_PX) gray levels; None for a picture without detail."""
    gray = pixels.astype(np.float64)
    steps = (np.arange(PICTURE_PX) + 0.5) * np.pi / PICTURE_PX
    basis = np.cos(np.arange(NUM_WAVES)[:, None] * steps)
    slow = (basis @ gray @ basis.T).ravel()[1:]  # without the mean
    signs = slow > np.median(slow)
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(gray, 2, mode="edge"), (5, 5))
    detail = gray - windows.mean(axis=(2, 3))
    detail -= detail.mean()
    if detail.std() < LEAST_DETAIL:
        return None
    waves = int("".join("1" if sign else "0" for sign in signs), 2)
    return PicturePrint(waves, (detail / np.linalg.norm(detail)).ravel().astype(np.float32))


def _near_pictures(prints: Mapping[int, PicturePrint], copies: set[int]) -> list[list[int]]:
    """Groups of pictures of which each is near to the first."""
    rows = [row for row in prints if row not in copies]
    groups: dict[int, list[int]] = {}
    firsts: list[int] = []
    waves = np.zeros(len(rows), np.uint64)  # of firsts
    for row in rows:
        own = prints[row]
        differ = np.bitwise_count(waves[: len(firsts)] ^ np.uint64(own.waves))
        candidates = np.flatnonzero(differ <= MOST_DIFFERENT).tolist()
        likeness = [float(own.detail @ prints[firsts[place]].detail) for place in candidates]
        if candidates and max(likeness) >= LEAST_LIKENESS:
            first = firsts[candidates[int(np.argmax(likeness))]]
            groups.setdefault(first, [first]).append(row)
            continue
        waves[len(firsts)] = own.waves
        firsts.append(row)
    return list(groups.values())


def _describe_copies(names: Sequence[str], rows: Sequence[int], words: str) -> list[CleanFinding]:
    """Of copies all but the first could go; of those in folders of two classes somebody has to look."""
    findings = []
    first = names[rows[0]]
    for row in rows[1:]:
        old, other = Path(names[row]).parent.name, Path(first).parent.name
        is_conflict = bool(old or other) and old != other
        kind: FindingKind = "label_conflict" if is_conflict else "near_duplicate"
        evidence = f"{names[row]} is {words} file {rows[0] + 1}, {first}"
        action = "look" if is_conflict else "drop"
        findings.append(CleanFinding(row + 1, kind, action, 1.0, evidence, old if is_conflict else ""))  # type: ignore[arg-type]
    return findings
