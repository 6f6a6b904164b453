"""A study on disk, and what every party signs: the bytes of study.json.

    STUDY/study.json                 what is learned from which columns, how, with what protection, by whom
    STUDY/signatures/NAME.sig        a party's Ed25519 signature over study.json (bundle/sign.py)
    STUDY/certificates/NAME.pem      its certificate for TLS, by the same key (transport/certificates.py)

The schema is the preprocessing itself, fitted on a sample that the maker of the study may show to all: medians, ranges
and levels of the sample stand in it, and no row.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from deepseek.bundle.fields import parse_value
from deepseek.bundle.manifest import canonical_json, check_name, decode_object
from deepseek.bundle.sign import MAX_SIGNATURE_BYTES, SignedNames, check_signature, public_key_from_hex, sign
from deepseek.contracts import JsonObject, Task
from deepseek.data import Preprocessor
from deepseek.errors import InputError, IntegrityError, MissingError
from deepseek.files import atomic_file, read_bounded
from deepseek.privacy.study.settings import StudySettings

FORMAT = 1
STUDY_FILE = "study.json"
MAX_STUDY_BYTES = 1 << 26


@dataclass(frozen=True, slots=True)
class Party:
    """Who takes part: a name, and the public key (64 hexadecimal digits) that signs all that it sends."""

    name: str
    key: str


@dataclass(frozen=True, slots=True)
class InputScaling:
    """How prepared features enter the model: the numbers among them scaled by the sample, codes one level each."""

    numeric: tuple[int, ...]  # (Q,) features that enter as numbers
    logged: tuple[bool, ...]  # (Q,) by their signed logarithm
    centre: tuple[float, ...]  # (Q,)
    scale: tuple[float, ...]  # (Q,)
    codes: tuple[int, ...]  # features that enter as one input a level
    num_levels: tuple[int, ...]  # of each of those


@dataclass(frozen=True, slots=True)
class ModuleSource:
    """Code that every party has by itself: the study says which, and brings none of it."""

    name: str  # FILE.py:NAME of a function or class that gives the torch module
    sha256: str  # of the bytes of FILE.py


@dataclass(frozen=True, slots=True)
class VerticalColumns:
    """Of a study of two houses with the same people: what joins their rows, and the columns of the house without the
    target. Those of the house with it, the study's first party, stand where every study has its columns."""

    id_column: str  # of both tables
    id_kind: Literal["number", "text"]
    alignment: Literal["intersection", "same_ids"]  # by private set intersection, or the same ids on both sides
    preprocess: str  # the text of preprocess.json
    inputs: InputScaling


@dataclass(frozen=True)
class Study:
    """study.json."""

    name: str
    created: str  # ISO 8601
    target: str
    task: Task
    labels: tuple[str, ...]  # classes in order; none for regression
    target_centre: float  # of regression: values are learned as (value - centre) / scale
    target_scale: float
    preprocess: str  # the text of preprocess.json
    inputs: InputScaling
    settings: StudySettings
    parties: tuple[Party, ...] = ()
    coordinator: Party | None = None
    format: int = FORMAT
    tree_edges: tuple[tuple[float, ...], ...] = ()  # of trees: where the bins of each prepared feature are cut
    module: ModuleSource | None = None  # where the model is a torch module
    vertical: VerticalColumns | None = None  # where two houses have other columns of the same people

    @cached_property
    def preprocessor(self) -> Preprocessor:
        return Preprocessor.from_bytes(self.preprocess.encode())

    @property
    def server(self) -> Party | None:
        """Who serves the study: its coordinator; of a vertical one the party with the target."""
        return self.parties[0] if self.vertical is not None and self.parties else self.coordinator

    @property
    def num_margins(self) -> int:
        return len(self.labels) if self.task == "multiclass" else 1

    @cached_property
    def content(self) -> bytes:
        """The bytes of study.json, which parties sign."""
        plain: JsonObject = asdict(self)
        if self.settings.model.trees is None:  # as studies were written that knew of no trees
            del plain["tree_edges"], plain["settings"]["model"]["trees"]
        if self.module is None:
            del plain["module"]
        if self.vertical is None:
            del plain["vertical"]
        return canonical_json(plain)

    @cached_property
    def digest(self) -> str:
        """sha256 of study.json."""
        return hashlib.sha256(self.content).hexdigest()

    def party(self, name: str) -> Party:
        """The party of that name, or InputError with those that there are."""
        for party in self.parties:
            if party.name == name:
                return party
        raise InputError(
            f"{name!r} is no party of the study {self.name!r}",
            expected=", ".join(party.name for party in self.parties) or "parties in the study",
            fix="use the key of a party, or make a study that names this one",
        )

    def party_of_key(self, key: str) -> Party:
        """The party whose public key that is, in hexadecimal, or InputError."""
        for party in self.parties:
            if party.key == key:
                return party
        raise InputError(
            f"the key {key[:16]}... belongs to no party of the study {self.name!r}",
            expected="the key of a party that the study names",
            fix="use the private key whose public half stands in study.json",
        )


@dataclass(frozen=True, slots=True)
class StudyFolder:
    """A study and the folder it lies in."""

    path: Path
    study: Study

    def signature_path(self, name: str) -> Path:
        return self.path / "signatures" / f"{name}.sig"

    def certificate_path(self, name: str) -> Path:
        return self.path / "certificates" / f"{name}.pem"

    def unsigned_parties(self) -> tuple[str, ...]:
        """Parties without a signature. IntegrityError for a signature that does not fit the study and the key."""
        return tuple(party.name for party in self.study.parties if not self.is_signed_by(party))

    def is_signed_by(self, party: Party) -> bool:
        """Whether the party has signed this very study. IntegrityError for a signature of another."""
        path = self.signature_path(party.name)
        if not path.is_file():
            return False
        signature = read_bounded(path, MAX_SIGNATURE_BYTES, what="a signature", smaller="sign the study again")
        names = SignedNames(STUDY_FILE, f"signatures/{path.name}", "study")
        check_signature(self.study.content, signature, public_key_from_hex(party.key), names)
        return True

    def sign(self, party: Party, key: Path) -> Path:
        """Write the party's signature by the private key in the PEM file `key`. IntegrityError when it is not its."""
        signature = sign(self.study.content, key)
        path = self.signature_path(party.name)
        names = SignedNames(STUDY_FILE, f"signatures/{path.name}", "study")
        check_signature(self.study.content, signature, public_key_from_hex(party.key), names)
        path.parent.mkdir(exist_ok=True)
        with atomic_file(path) as part:
            part.write_bytes(signature)
        return path


def write_study(folder: Path, study: Study) -> StudyFolder:
    """Put a new study into a folder that is made for it. InputError when the folder holds something."""
    _check_study(study)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is not empty", expected="a new folder", fix="choose another name for the study")
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_file(folder / STUDY_FILE) as part:
        part.write_bytes(study.content)
    return StudyFolder(folder, study)


def open_study(folder: Path) -> StudyFolder:
    """The study in a folder. MissingError where there is none, IntegrityError or InputError for one that is damaged."""
    path = folder / STUDY_FILE
    if not path.is_file():
        raise MissingError(
            f"{folder} holds no {STUDY_FILE}", expected="the folder of a study", fix="make one: deepseek federate init"
        )
    data = read_bounded(path, MAX_STUDY_BYTES, what="a study", smaller="use fewer columns")
    top = decode_object(data, STUDY_FILE)
    if top.get("format") != FORMAT:
        raise InputError(
            f"{path} is of format {top.get('format')!r}", expected=str(FORMAT), fix="update the clone of this project"
        )
    study: Study = parse_value(Study, top, STUDY_FILE)
    if study.content != data:
        raise IntegrityError(
            f"{path} was changed by hand", expected="the bytes that federate init wrote", fix="copy the study again"
        )
    _check_study(study)
    return StudyFolder(folder, study)


def _check_study(study: Study) -> None:
    study.settings.check()
    settings = study.settings
    names = [party.name for party in study.parties]
    keys = [party.key for party in study.parties] + ([study.coordinator.key] if study.coordinator else [])
    for name in [study.name, *names]:
        check_name(name, "party or study")
    if (study.module is None) != (settings.model.kind != "module"):
        raise InputError(
            f"model.kind is {settings.model.kind!r}, and the study names {'no' if study.module is None else 'a'} file",
            expected="the file of a torch module with model.kind = 'module', and none with another kind",
            fix="name it with --module FILE.py:NAME, or leave it out",
        )
    if study.vertical is not None:
        _check_vertical(study)
    if len(set(names)) < len(names) or len(set(keys)) < len(keys):
        raise InputError(
            "two parties of the study have one name or one key",
            expected="a name and a key of its own for each party and for the coordinator",
            fix="deepseek keygen makes a key pair for each",
        )
    if names and len(names) < study.settings.rounds.min_parties:
        raise InputError(
            f"the study has {len(names)} parties, and each round needs {study.settings.rounds.min_parties}",
            expected="at least as many parties as rounds.min_parties",
            fix="name more parties, or lower rounds.min_parties",
        )
    if settings.protection.secure_sums and names and 2 * settings.rounds.min_parties <= len(names):
        raise InputError(
            f"rounds.min_parties is {settings.rounds.min_parties} of {len(names)} parties under secure sums",
            expected=f"more than half of the parties, {len(names) // 2 + 1}: else a round could be opened twice",
            fix="raise rounds.min_parties",
        )


def _check_vertical(study: Study) -> None:
    """InputError for what a study of two houses with other columns does not have."""
    rounds, settings = study.settings.rounds, study.settings
    for name, good, expected in (
        ("the number of parties", len(study.parties) in (0, 2), "two, the first of which has the target"),
        ("coordinator", study.coordinator is None, "none: the party with the target serves the study"),
        ("the target", study.task != "multiclass", "two classes, or numbers"),
        ("model.kind", settings.model.kind == "linear", '"linear"'),
        ("rounds.strategy", rounds.strategy == "fedavg", '"fedavg": it does not apply'),
        ("rounds.rule", rounds.rule == "mean" and rounds.norm_bound is None, '"mean", without norm_bound'),
        ("rounds.min_parties", rounds.min_parties == 2, "2"),
        ("budget.noise", settings.budget.noise == 0, "0: a budget of a vertical study is not built"),
        ("protection.secure_sums", not settings.protection.secure_sums, "false: two houses have no sum to hide in"),
    ):
        if not good:
            raise InputError(
                f"{name} does not go with a vertical study", expected=expected, fix=f"change {name}, or leave it out"
            )
