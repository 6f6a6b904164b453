"""A federation of real processes over TLS: secure sums, a party that is killed, a coordinator that is killed and comes
back, a party that comes late, and strangers at the door."""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deepseek.bundle import open_bundle
from deepseek.bundle.sign import (
    check_signature,
    generate_keys,
    load_private_key,
    load_public_key,
    public_key_from_hex,
)
from deepseek.errors import DeadlineError
from deepseek.privacy.bundles.transcript import MessageRecord
from deepseek.privacy.study.definition import Study
from deepseek.privacy.study.refusals import ExpiredError, ForeignError
from deepseek.privacy.transport.certificates import check_certificate, client_context, make_certificate, public_key_of
from deepseek.privacy.transport.messages import SIGNATURE, TIME, Place, SignedMessage, message_path, sign_request
from deepseek.privacy.transport.party import JoinOptions, join_study, open_client
from support.federation import NAMES, Federation, make_federation, party_frame, party_table

pytest.importorskip("Crypto.Protocol.SecretSharing", reason="needs the extra 'privacy'")
for module in ("httpx", "starlette", "uvicorn"):
    pytest.importorskip(module, reason="needs the extra 'privacy'")

LONGEST_S = 900.0  # of waiting for anything: a machine may stand still for minutes


@dataclass
class Outcome:
    """A federation after its end."""

    federation: Federation
    bundle: Path
    reports: dict[str, dict[str, object]]  # what each process printed with --json
    outputs: str  # everything that any process wrote to stderr
    status: dict[str, object]  # while it ran
    handshakes: dict[str, str]  # what those of strangers ended with
    refusals: dict[str, tuple[int, str]]  # status and code of requests that do not fit


def run(*words: object) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-m", "deepseek", "federate", *map(str, words), "--json"]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class GoneError(Exception):
    """What ends the party that drops out."""


pytestmark = pytest.mark.slow  # seven processes over TLS, killed on the way


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    """Four parties, three of which each round needs, so that nothing runs ahead of this fixture: one drops out in the
    middle of a round, the coordinator is killed twice, and the fourth party comes late."""
    folder = tmp_path_factory.mktemp("federation")
    federation = make_federation(
        folder, "rounds.num_rounds=4", "rounds.lr=0.3", "rounds.min_parties=3", "rounds.deadline_s=4",
        "protection.secure_sums=true", names=NAMES,
    )  # fmt: skip
    for name in NAMES:
        party_frame(name).to_csv(folder / f"{name}.csv", index=False)
    port, study = free_port(), federation.folder.path
    url = f"https://127.0.0.1:{port}"
    processes: list[subprocess.Popen[str]] = []

    def start(*words: object) -> subprocess.Popen[str]:
        processes.append(run(*words))
        return processes[-1]

    def serve() -> subprocess.Popen[str]:
        return start("serve", study, "--key", federation.keys["hub"], "--port", port, "--out", folder / "bundle")

    def join(name: str) -> subprocess.Popen[str]:
        return start("join", url, "--study", study, "--data", folder / f"{name}.csv", "--key", federation.keys[name])

    def kill(process: subprocess.Popen[str]) -> None:
        process.kill()
        process.wait()

    try:
        hub, ada, bob = serve(), join("ada"), join("bob")
        client = open_client(url, federation.folder, federation.keys["cyd"], LONGEST_S)
        status = client.request_object("GET", "/v1/status")  # two of three: the first task waits
        client.close()
        handshakes, refusals = knock(url, folder, federation), send_misfits(url, federation)
        kill(hub)
        hub = serve()
        drop_out(url, federation, after="training, 2/0/shares")
        kill(hub)
        hub = serve()
        dee = join("dee")
        reports, errors = {}, []
        for name, process in {"hub": hub, "ada": ada, "bob": bob, "dee": dee}.items():
            out, err = process.communicate(timeout=LONGEST_S)
            assert process.returncode == 0, err
            reports[name] = json.loads(out)
            errors.append(err)
        yield Outcome(federation, folder / "bundle", reports, "".join(errors), status, handshakes, refusals)
    finally:
        for process in processes:
            with contextlib.suppress(OSError):
                process.kill()
            process.communicate()


def drop_out(url: str, federation: Federation, *, after: str) -> None:
    """Take part as cyd, and be gone without a word when that message is sent."""

    def report(text: str) -> None:
        if text == after:
            raise GoneError

    options = JoinOptions(federation.keys["cyd"], LONGEST_S, report)
    with pytest.raises(GoneError):
        join_study(url, federation.folder, party_table("cyd"), options)


def knock(url: str, folder: Path, federation: Federation) -> dict[str, str]:
    """What clients hear from the server whose certificates are of a key of nobody, expired, or not there."""
    stranger = generate_keys(folder / "stranger")[0]
    papers = {
        "foreign": (make_certificate(stranger, "ada"), stranger),
        "expired": (make_certificate(federation.keys["ada"], "ada", valid_days=-10), federation.keys["ada"]),
        "none": None,
    }
    heard = {}
    for name, paper in papers.items():
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if paper is not None:
            (folder / f"{name}.pem").write_bytes(paper[0])
            context.load_cert_chain(folder / f"{name}.pem", paper[1])
        port = int(url.rpartition(":")[2])
        try:
            with socket.create_connection(("127.0.0.1", port)) as plain, context.wrap_socket(plain) as secure:
                secure.sendall(b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n")
                said = secure.recv(100)
                heard[name] = f"answered: {said!r}" if said else "refused: closed without a word"
        except OSError as error:
            heard[name] = f"refused: {error}"
    return heard


def send_misfits(url: str, federation: Federation) -> dict[str, tuple[int, str]]:
    """Requests of cyd, who may connect, that a study may not take: status and code of each."""
    import httpx

    folder, key = federation.folder, load_private_key(federation.keys["cyd"])
    context = client_context(folder, federation.study.party("cyd"), federation.keys["cyd"], url)
    other = replace(federation.study, name="other")
    keys = "/v1/messages/0/0/keys"

    def signed(path: str, body: bytes = b"", study: Study = federation.study, party: str = "cyd") -> dict[str, str]:
        return sign_request(key, party, study, "POST", path, body)

    now, hour = time.time(), 3600 * 1000
    early = signed(keys) | {TIME: str(round(now * 1000) - hour)}
    content = f"POST\n{keys}\n{federation.study.digest}\n{early[TIME]}\n{hashlib.sha256(b'').hexdigest()}"
    early[SIGNATURE] = key.sign(content.encode()).hex()
    late, junk, big = "/v1/messages/7/0/keys", "/v1/messages/0/0/../keys", bytes(1 << 22)
    requests = {
        "another study": (keys, b"", signed(keys, study=other)),
        "another party's name": (keys, b"", signed(keys, party="ada")),
        "another body": (keys, b"x", signed(keys)),
        "an hour behind": (keys, b"", early),
        "a step that is not asked": (late, b"", signed(late)),
        "no keys": (keys, b"{}", signed(keys, b"{}")),
        "cut in half": (keys, b'{"masking": "00', signed(keys, b'{"masking": "00')),
        "too large": (keys, big, signed(keys, big)),
        "no signature": (keys, b"", {}),
        "no step": (junk, b"", signed(junk)),
    }
    refusals = {}
    with httpx.Client(base_url=url, verify=context, trust_env=False, timeout=60) as client:
        for name, (path, body, headers) in requests.items():
            response = client.post(path, content=body, headers=headers)
            refusals[name] = (
                response.status_code,
                response.json()["error"]["code"] if response.content[:1] == b"{" else "",
            )
    return refusals


def test_the_study_ends_in_a_signed_bundle(outcome: Outcome) -> None:
    hub = load_public_key(outcome.federation.keys["hub"].with_name("key-hub.pub"))
    bundle = open_bundle(outcome.bundle)
    check_signature((outcome.bundle / "bundle.json").read_bytes(), (outcome.bundle / "bundle.sig").read_bytes(), hub)
    report = json.loads(bundle.read("evidence/federation.json"))
    assert report["study"] == outcome.federation.study.digest
    assert report["coordinator_saw"] == "sums over parties alone"
    assert report["transcript_is_chained"]
    assert not report["simulated"]
    assert report["figures"]["accuracy"] > 0.6
    assert outcome.reports["hub"]["digest"] == bundle.digest


def test_prometheus_reads_the_coordinators_records(outcome: Outcome) -> None:
    pytest.importorskip("prometheus_client")
    from deepseek.observe.expose import Exposer

    study = outcome.federation.folder.path
    value = Exposer([study]).registry.get_sample_value
    figures = {name: value(f"deepseek_federated_{name}", {"study": study.name}) for name in ("rounds", "parties")}
    assert figures == {"rounds": 4, "parties": 3}
    assert value("deepseek_federated_sent_bytes", {"study": study.name})


def test_no_update_counts_twice_and_those_who_were_away_do_not_count(outcome: Outcome) -> None:
    records = json.loads(open_bundle(outcome.bundle).read("evidence/transcript.json"))["records"]
    assert [record["task"] for record in records] == list(range(6))
    for record in records:
        assert len(set(record["parties"])) == len(record["parties"]) >= 3
        senders = [message["party"] for message in record["messages"] if message["step"] == "masked"]
        assert sorted(senders) == sorted(record["parties"])
    assert [record["parties"] for record in records] == [["ada", "bob", "cyd"]] * 2 + [["ada", "bob", "dee"]] * 4


def test_every_message_of_the_transcript_is_signed_by_its_party(outcome: Outcome) -> None:
    """Anybody who has the study can check it: signature over method, path, study, time and the body's digest."""
    study = outcome.federation.study
    records = json.loads(open_bundle(outcome.bundle).read("evidence/transcript.json"))["records"]
    num_messages = 0
    for record in records:
        for fields in record["messages"]:
            message = MessageRecord(**fields)
            place = Place(record["task"], record["attempt"], message.step)
            content = f"POST\n{message_path(place)}\n{study.digest}\n{message.time_ms}\n{message.sha256}".encode()
            public_key_from_hex(study.party(message.party).key).verify(bytes.fromhex(message.signature), content)
            num_messages += 1
    assert num_messages >= 4 * 3 * len(records)


def test_status_says_who_is_there(outcome: Outcome) -> None:
    assert outcome.status["parties"] == sorted(NAMES)
    assert outcome.status["num_rounds"] == 4
    assert {"cyd", "dee"} <= set(outcome.status["waiting_for"])  # type: ignore[call-overload]
    assert outcome.status["study"] == outcome.federation.study.digest


def test_strangers_are_turned_away_before_a_word_is_said(outcome: Outcome) -> None:
    assert outcome.handshakes.keys() == {"foreign", "expired", "none"}
    assert all(heard.startswith("refused") for heard in outcome.handshakes.values()), outcome.handshakes


def test_requests_that_do_not_fit_are_refused_by_name(outcome: Outcome) -> None:
    no_step = outcome.refusals.pop("no step")
    assert no_step[0] in (400, 403, 404, 409)
    assert outcome.refusals == {
        "another study": (409, "other_study"),
        "another party's name": (403, "foreign_party"),
        "another body": (403, "foreign_party"),
        "an hour behind": (409, "clock_off"),
        "a step that is not asked": (409, "late_message"),
        "no keys": (400, "malformed"),
        "cut in half": (409, "integrity"),
        "too large": (413, "too_large"),
        "no signature": (409, "other_study"),
    }


def test_no_number_of_a_party_is_in_a_log_or_left_with_the_coordinator(outcome: Outcome) -> None:
    study = outcome.federation.folder.path
    assert not list((study / "coordinator").rglob("*.message"))
    assert all(line.startswith(("answered: ", "the study is served at ")) for line in outcome.outputs.splitlines())


def test_papers_that_do_not_fit_are_refused_by_name(tmp_path: Path) -> None:
    federation = make_federation(tmp_path)
    ada = federation.study.party("ada")
    with pytest.raises(ForeignError, match="ada is of another key"):
        check_certificate(make_certificate(federation.keys["bob"], "ada"), ada)
    expired = make_certificate(federation.keys["ada"], "ada", valid_days=-10)
    with pytest.raises(ExpiredError, match=f"{datetime.now(UTC) - timedelta(days=10):%Y-%m-%d}"):
        check_certificate(expired, ada)
    assert public_key_of(federation.keys["ada"]) == ada.key


def test_a_coordinator_that_is_gone_is_said_to_be(tmp_path: Path) -> None:
    federation = make_federation(tmp_path)
    client = open_client(f"https://127.0.0.1:{free_port()}", federation.folder, federation.keys["ada"], 0.0)
    with pytest.raises(DeadlineError, match="was gone for 0 seconds"):
        client.request("GET", "/v1/status")


def test_somebody_else_at_the_coordinators_address_is_not_believed(tmp_path: Path) -> None:
    """A server with a certificate of another key hears nothing of the party."""
    import threading

    federation = make_federation(tmp_path)
    impostor = generate_keys(tmp_path / "impostor")[0]
    (tmp_path / "impostor.pem").write_bytes(make_certificate(impostor, "coordinator"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "impostor.pem", impostor)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            plain, _ = listener.accept()
            with contextlib.suppress(OSError), context.wrap_socket(plain, server_side=True) as secure:
                secure.recv(1)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        client = open_client(url, federation.folder, federation.keys["ada"], 0.0)
        with pytest.raises(ForeignError, match="hub is of another key"):
            client.request("POST", "/v1/messages/0/0/answer", SignedMessage("ada", 0, "", b"numbers").body)
        thread.join(LONGEST_S)
