"""The study file: what is refused in it, and whose signature stands under it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deepseek.bundle.sign import generate_keys
from deepseek.errors import InputError, IntegrityError
from deepseek.privacy.study.definition import STUDY_FILE, Party, StudyFolder, open_study, write_study
from deepseek.privacy.study.settings import read_settings
from support.federation import loans_study, make_federation


@pytest.mark.parametrize(
    ("assignments", "word"),
    [
        (("rounds.num_rounds=0",), "num_rounds"),
        (("model.kind='perceptron'",), "widths"),
        (("rounds.stategy='fedavg'",), "Did you mean 'rounds.strategy'"),
        (("protection.secure_sums=true", "rounds.rule='median'"), "secure_sums"),
        (("rounds.rule='krum'", "rounds.num_malicious=2", "rounds.min_parties=5"), "num_malicious"),
        (("budget.epsilon=3",), "budget.noise"),
        (("budget.noise=1", "budget.epsilon=3"), "secure_sums"),
        (("budget.noise=1", "protection.secure_sums=true", "rounds.strategy='scaffold'"), "scaffold"),
        (("budget.noise=1", "budget.unit='record'"), "without budget.epsilon"),
        (("budget.noise=1", "budget.unit='record'", "budget.epsilon=3", "rounds.strategy='scaffold'"), "scaffold"),
    ],
)
def test_settings_that_promise_what_cannot_be_kept_are_refused(assignments: tuple[str, ...], word: str) -> None:
    with pytest.raises(InputError, match=word):
        read_settings(None, assignments)


def test_a_study_is_read_as_it_was_written(tmp_path: Path) -> None:
    study = loans_study("model.kind='perceptron'", "model.widths=[8]")
    written = write_study(tmp_path / "study", study)
    assert open_study(written.path).study == study
    assert open_study(written.path).study.digest == study.digest


def test_a_study_that_was_edited_is_refused(tmp_path: Path) -> None:
    path = write_study(tmp_path / "study", loans_study()).path
    top = json.loads((path / STUDY_FILE).read_text())
    top["settings"]["rounds"]["lr"] = 0.2
    (path / STUDY_FILE).write_text(json.dumps(top))
    with pytest.raises(IntegrityError, match="changed by hand"):
        open_study(path)


def test_a_signature_is_of_one_study_and_one_party(tmp_path: Path) -> None:
    federation = make_federation(tmp_path)
    folder, ada = federation.folder, federation.study.party("ada")
    assert folder.unsigned_parties() == ()
    with pytest.raises(IntegrityError, match="another key"):
        folder.sign(ada, federation.keys["bob"])
    folder.signature_path("ada").write_bytes(folder.signature_path("bob").read_bytes())
    with pytest.raises(IntegrityError, match="another key"):
        folder.is_signed_by(ada)
    other = write_study(tmp_path / "other", loans_study("rounds.lr=0.2", parties=federation.study.parties))
    (other.path / "signatures").mkdir()
    other.signature_path("bob").write_bytes(folder.signature_path("bob").read_bytes())
    with pytest.raises(IntegrityError, match="does not fit"):
        other.is_signed_by(federation.study.party("bob"))


def test_parties_share_neither_names_nor_keys(tmp_path: Path) -> None:
    parties = [Party("ada", "11" * 32), Party("bob", "11" * 32)]
    with pytest.raises(InputError, match="one name or one key"):
        write_study(tmp_path / "study", loans_study(parties=parties))


def test_masks_need_more_than_half_of_the_parties(tmp_path: Path) -> None:
    parties = [Party(name, f"{place:02x}" * 32) for place, name in enumerate(("ada", "bob", "cyd", "dee"))]
    study = loans_study("protection.secure_sums=true", "rounds.min_parties=2", parties=parties)
    with pytest.raises(InputError, match="more than half"):
        write_study(tmp_path / "study", study)


def test_a_stranger_cannot_sign(tmp_path: Path) -> None:
    from deepseek.privacy.transport.certificates import public_key_of

    folder: StudyFolder = make_federation(tmp_path).folder
    stranger = generate_keys(tmp_path / "stranger")[0]
    with pytest.raises(InputError, match="no party"):
        folder.study.party_of_key(public_key_of(stranger))
