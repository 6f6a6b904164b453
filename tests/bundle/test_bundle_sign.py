"""A signature says who made a bundle, to whoever brings that maker's public key."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from deepseek.bundle import Bundle, Manifest, open_bundle, verify_bundle, write_bundle
from deepseek.bundle.sign import generate_keys
from deepseek.errors import ExtraError, InputError, IntegrityError


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    private, public, _ = generate_keys(tmp_path / "key")
    return private, public


@pytest.fixture
def signed(tmp_path: Path, manifest: Manifest, files: dict[str, bytes], keys: tuple[Path, Path]) -> Bundle:
    return write_bundle(tmp_path / "signed", manifest, files, key=keys[0])


def test_a_signed_bundle_opens_with_its_key_and_without(signed: Bundle, keys: tuple[Path, Path]) -> None:
    assert open_bundle(signed.path, key=keys[1]).signature == "good"
    assert open_bundle(signed.path).signature == "not checked"
    assert verify_bundle(signed.path, key=keys[1]) == verify_bundle(signed.path) == []


def test_an_unsigned_bundle_is_refused_with_a_key(bundle: Bundle, keys: tuple[Path, Path]) -> None:
    assert bundle.signature == "none"
    with pytest.raises(IntegrityError, match=r"bundle.sig is missing"):
        open_bundle(bundle.path, key=keys[1])
    assert "bundle.sig is missing" in verify_bundle(bundle.path, key=keys[1])[0]


def test_another_makers_signature_is_refused(tmp_path: Path, signed: Bundle) -> None:
    _, other, _ = generate_keys(tmp_path / "other")
    with pytest.raises(IntegrityError, match=r"bundle.sig is by another key"):
        open_bundle(signed.path, key=other)
    assert "by another key" in verify_bundle(signed.path, key=other)[0]


def test_a_signature_of_another_bundle_is_refused(
    tmp_path: Path, signed: Bundle, manifest: Manifest, files: dict[str, bytes], keys: tuple[Path, Path]
) -> None:
    other = write_bundle(tmp_path / "other", replace(manifest, version="2"), files)
    shutil.copy(signed.path / "bundle.sig", other.path)
    with pytest.raises(IntegrityError, match=r"bundle.sig does not fit bundle.json"):
        open_bundle(other.path, key=keys[1])
    assert "does not fit" in verify_bundle(other.path)[0]


def test_an_attacker_who_names_the_right_key_is_refused(
    tmp_path: Path, manifest: Manifest, files: dict[str, bytes], signed: Bundle, keys: tuple[Path, Path]
) -> None:
    """Signs with a key of their own and writes the maker's public key into bundle.sig."""
    private, _, _ = generate_keys(tmp_path / "attacker")
    forged = write_bundle(tmp_path / "forged", replace(manifest, version="2"), files, key=private)
    theirs = json.loads((forged.path / "bundle.sig").read_text())
    ours = json.loads((signed.path / "bundle.sig").read_text())
    (forged.path / "bundle.sig").write_text(json.dumps({**theirs, "key": ours["key"]}, sort_keys=True, indent=2) + "\n")
    with pytest.raises(IntegrityError, match=r"does not fit"):
        open_bundle(forged.path, key=keys[1])


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", "x", '{"algorithm": "none", "key": "", "signature": ""}', "{" * 5000]
)
def test_a_signature_of_another_shape_is_refused_with_and_without_a_key(
    signed: Bundle, keys: tuple[Path, Path], content: str
) -> None:
    (signed.path / "bundle.sig").write_text(content)
    for key in (None, keys[1]):
        with pytest.raises(IntegrityError, match=r"bundle.sig"):
            open_bundle(signed.path, key=key)
        assert "bundle.sig" in verify_bundle(signed.path, key=key)[0]


def test_the_private_key_is_for_its_owner_alone_and_no_key_is_overwritten(keys: tuple[Path, Path]) -> None:
    private, public = keys
    assert private.stat().st_mode & 0o777 == 0o600
    assert b"PRIVATE KEY" in private.read_bytes()
    assert b"PUBLIC KEY" in public.read_bytes()
    before = private.read_bytes(), public.read_bytes()
    with pytest.raises(InputError, match=r"never overwritten"):
        generate_keys(private)
    private.rename(private.with_name("moved"))
    with pytest.raises(InputError, match=r"never overwritten"):
        generate_keys(private)
    assert not private.exists()
    assert (private.with_name("moved").read_bytes(), public.read_bytes()) == before


def test_a_key_cannot_be_written_where_there_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot be written"):
        generate_keys(tmp_path / "gone/key")


def test_what_is_no_key_is_an_input_error(
    tmp_path: Path, signed: Bundle, manifest: Manifest, files: dict[str, bytes], keys: tuple[Path, Path]
) -> None:
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    other = rsa.generate_private_key(65537, 2048)
    (tmp_path / "rsa").write_bytes(other.private_bytes(pem, pkcs8, serialization.NoEncryption()))
    (tmp_path / "rsa.pub").write_bytes(
        other.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    locked = serialization.BestAvailableEncryption(b"secret")
    (tmp_path / "locked").write_bytes(ed25519.Ed25519PrivateKey.generate().private_bytes(pem, pkcs8, locked))
    (tmp_path / "text").write_text("hello")
    for wrong in ("gone", "text", "rsa.pub", ".", "key"):
        for call in (open_bundle, verify_bundle):
            with pytest.raises(InputError, match=r"key"):
                call(signed.path, key=tmp_path / wrong)
    for wrong in ("gone", "text", "rsa", "locked", ".", "key.pub"):
        with pytest.raises(InputError, match=r"key"):
            write_bundle(tmp_path / "out", manifest, files, key=tmp_path / wrong)
    assert not (tmp_path / "out").exists()


def test_without_cryptography_a_signature_is_left_unchecked_and_a_key_says_what_to_install(
    signed: Bundle, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "cryptography"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    assert open_bundle(signed.path).signature == "not checked"
    assert verify_bundle(signed.path) == []
    for call in (open_bundle, verify_bundle):
        with pytest.raises(ExtraError, match=r"pip install -e '\.\[serve\]'"):
            call(signed.path, key=keys[1])


def test_a_key_pair_is_there_as_a_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modes: list[int] = []

    def taken(self: Path, part: Path) -> None:
        """Another process makes the private key between our look and our step."""
        modes.append(part.stat().st_mode & 0o777)
        if self.name == "key":
            self.write_text("theirs")
        os.link(part, self)

    monkeypatch.setattr(Path, "hardlink_to", taken)
    with pytest.raises(InputError, match=r"never overwritten"):
        generate_keys(tmp_path / "key")
    assert (tmp_path / "key").read_text() == "theirs"
    assert [path.name for path in tmp_path.iterdir()] == ["key"]
    assert modes == [0o644, 0o600]


def test_a_disk_without_hard_links_holds_keys_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: Path, part: Path) -> None:
        raise PermissionError(1, "Operation not permitted", str(self))

    monkeypatch.setattr(Path, "hardlink_to", refused)
    private, public, _ = generate_keys(tmp_path / "key")
    assert private.stat().st_mode & 0o777 == 0o600
    assert {path.name for path in tmp_path.iterdir()} == {private.name, public.name}


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
def test_another_tool_can_check_the_signature(tmp_path: Path, signed: Bundle, keys: tuple[Path, Path]) -> None:
    signature = json.loads((signed.path / "bundle.sig").read_text())["signature"]
    (tmp_path / "raw").write_bytes(bytes.fromhex(signature))
    verb = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", str(keys[1]), "-rawin"]
    files = ["-in", str(signed.path / "bundle.json"), "-sigfile", str(tmp_path / "raw")]
    done = subprocess.run([*verb, *files], capture_output=True, text=True, check=False)
    assert "Signature Verified Successfully" in done.stdout + done.stderr
