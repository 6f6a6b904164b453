"""Two houses as real processes over TLS, each killed by SIGKILL on the way, and strangers at the door."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from deepseek.bundle import open_bundle, verify_bundle
from deepseek.bundle.fields import parse_json_object
from deepseek.data import read_table
from deepseek.engines import open_runtime
from deepseek.errors import CheckError, DeadlineError, InputError
from deepseek.extras import is_installed
from deepseek.privacy.study.refusals import ForeignError
from deepseek.privacy.transport.messages import SignedMessage, check_message
from deepseek.privacy.transport.party import JoinOptions, open_client
from deepseek.privacy.transport.server import ServeOptions
from deepseek.privacy.vertical.envelope import METHOD
from deepseek.privacy.vertical.halves import HalfFacts
from deepseek.privacy.vertical.party import join_house
from deepseek.privacy.vertical.server import serve_house
from deepseek.privacy.vertical.simulation import run_houses
from support.houses import Houses, bank_frame, make_houses, people, shop_frame

pytest.importorskip("tenseal", reason="needs the extra 'privacy'")
for module in ("httpx", "starlette", "uvicorn"):
    pytest.importorskip(module, reason="needs the extra 'privacy'")
pytestmark = pytest.mark.slow  # six processes over TLS, killed on the way

LONGEST_S = 900.0  # of waiting for anything: a machine may stand still for minutes
ALIGNMENT = "intersection" if is_installed("private_set_intersection") else "same_ids"


@dataclass
class Outcome:
    """A study after its end."""

    houses: Houses
    halves: dict[str, Path]
    reports: dict[str, dict[str, object]]
    outputs: str  # everything that any process wrote to stderr
    refusals: list[str]  # of requests that do not fit, while it ran


def start(*words: object) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-m", "deepseek", "federate", *map(str, words), "--json"]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def read_until(process: subprocess.Popen[str], words: str, lines: list[str]) -> str:
    """The first line on stderr with these words."""
    assert process.stderr is not None
    for line in process.stderr:
        lines.append(line)
        if words in line:
            return line
    raise AssertionError(f"the process ended without {words!r}: {''.join(lines)}")


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    folder = tmp_path_factory.mktemp("houses")
    houses = make_houses(folder, "rounds.num_rounds=4", alignment=ALIGNMENT)
    frame = people(600)
    bank_frame(frame).sample(frac=1, random_state=1).to_csv(folder / "bank.csv", index=False)
    shop_frame(frame).sample(frac=1, random_state=2).to_csv(folder / "shop.csv", index=False)
    study, processes, lines = houses.folder.path, [], []
    halves = {name: folder / f"{name}-half" for name in ("bank", "shop")}

    def serve(port: object) -> tuple[subprocess.Popen[str], str]:
        bank = start("serve", study, "--key", houses.keys["bank"], "--data", folder / "bank.csv", "--port", port,
                     "--out", halves["bank"])  # fmt: skip
        processes.append(bank)
        return bank, read_until(bank, "is served at", lines).split()[-1]

    def join(url: str) -> subprocess.Popen[str]:
        processes.append(start("join", url, "--study", study, "--data", folder / "shop.csv", "--key",
                               houses.keys["shop"], "--out", halves["shop"]))  # fmt: skip
        return processes[-1]

    def kill(process: subprocess.Popen[str]) -> None:
        process.kill()
        with process:  # closes its pipes
            process.wait()

    try:
        bank, url = serve(0)
        refusals = knock(url, houses)
        shop = join(url)
        read_until(shop, "answered: 1/sums", lines)
        kill(shop)
        shop = join(url)
        read_until(shop, "answered: 2/errors", lines)
        kill(bank)
        bank, _ = serve(url.rsplit(":", 1)[-1])
        reports = {}
        for name, process in {"shop": shop, "bank": bank}.items():
            out, err = process.communicate(timeout=LONGEST_S)
            assert process.returncode == 0, err
            lines.append(err)
            reports[name] = json.loads(out)
        yield Outcome(houses, halves, reports, "".join(lines), refusals)
    finally:
        for process in processes:
            kill(process)


def knock(url: str, houses: Houses) -> list[str]:
    """What a client that has the papers of the shop is told for requests that do not fit."""
    client = open_client(url, houses.folder, houses.keys["shop"], LONGEST_S)
    words = []
    for step, body in (("keys", b""), ("9/errors", b"{}\n"), ("nothing", b"x"), ("keys", b'{"time_ms": 1}\nzz')):
        with pytest.raises(CheckError) as caught:
            client.request("POST", f"/v1/vertical/{step}", body)
        words.append(str(caught.value))
    client.close()
    return words


def test_both_houses_end_with_a_half_though_each_was_killed(outcome: Outcome) -> None:
    frame = people(600)
    uninterrupted = run_houses(outcome.houses.study, read_table(frame))
    tables = (bank_frame(frame).drop(columns="default"), shop_frame(frame))
    for (name, half), house, table in zip(outcome.halves.items(), uninterrupted, tables, strict=True):
        assert verify_bundle(half) == []
        evidence = parse_json_object(open_bundle(half).read("evidence/federation.json"), "federation.json")
        assert evidence["num_shared_rows"] == 600
        assert evidence["simulated"] is False
        assert evidence["transcript_is_chained"]
        assert evidence["rounds_by_party"] == {"bank": 4, "shop": 4}
        assert evidence["bytes_by_party"] == outcome.reports[name]["bytes_by_party"]
        with open_runtime(half) as runtime:
            scores = runtime.predict(read_table(table.drop(columns="person"))).values
        expected = house.scores(np.arange(600)) + house.target_mean
        assert np.abs(scores - expected).max() < 0.05  # both by sums with the noise of CKKS
    both = [open_bundle(half).read("evidence/transcript.json") for half in outcome.halves.values()]
    assert both[0] == both[1]
    figures = outcome.reports["bank"]["figures"]
    assert isinstance(figures, dict)
    assert figures["auc"] > 0.7


def test_every_message_is_signed_by_its_house_and_nothing_of_a_row_is_in_a_log(outcome: Outcome) -> None:
    study = outcome.houses.study
    transcript = json.loads(open_bundle(outcome.halves["bank"]).read("evidence/transcript.json"))
    messages = [message for record in transcript["records"] for message in record["messages"]]
    assert {message["party"] for message in messages} == {"bank", "shop"}
    assert all(len(message["signature"]) == 128 for message in messages)
    assert "p00" not in outcome.outputs
    assert not any(word in outcome.outputs for word in ("Traceback", "north", "south"))
    message = SignedMessage("bank", messages[1]["time_ms"], messages[1]["signature"], b"another body")
    with pytest.raises(ForeignError):
        check_message(study, study.parties[0], message, METHOD, messages[1]["step"])


def test_requests_that_do_not_fit_are_refused_and_the_study_goes_on(outcome: Outcome) -> None:
    first = ALIGNMENT == "same_ids"
    assert "envelope" in outcome.refusals[0] if first else "is for the step keys" in outcome.refusals[0]
    assert "is for the step 9/errors" in outcome.refusals[1]
    assert "is for the step nothing" in outcome.refusals[2]
    refused = outcome.reports["bank"]["refused"]
    assert isinstance(refused, int)


def test_secrets_are_forgotten_at_the_end(outcome: Outcome) -> None:
    for path in (outcome.houses.folder.path / "houses").glob("*.safetensors"):
        assert path.stat().st_size < 400_000  # no secret key of 1 MB, no ciphertext
        assert path.stat().st_mode & 0o777 == 0o600


def test_papers_that_do_not_fit_are_refused_before_anything_is_opened(outcome: Outcome, tmp_path: Path) -> None:
    folder, keys = outcome.houses.folder, outcome.houses.keys
    frame = people(600)
    with pytest.raises(InputError, match="not that of bank"):
        serve_house(folder, read_table(bank_frame(frame)), ServeOptions(keys["shop"]))
    with pytest.raises(InputError, match="has the target, and serves"):
        join_house("https://127.0.0.1:9", folder, read_table(bank_frame(frame)), JoinOptions(keys["bank"]))
    with pytest.raises((DeadlineError, OSError)):
        open_client("https://127.0.0.1:9", folder, keys["shop"], 0.1).request("GET", "/v1/status")
    unsigned = make_houses(tmp_path, "rounds.num_rounds=2")
    unsigned.folder.signature_path("shop").unlink()
    with pytest.raises(CheckError, match="shop has not signed"):
        serve_house(unsigned.folder, read_table(bank_frame(frame)), ServeOptions(unsigned.keys["bank"]))


def test_both_houses_answer_together_and_neither_alone(outcome: Outcome, tmp_path: Path) -> None:
    folder, keys, halves = outcome.houses.folder.path, outcome.houses.keys, outcome.halves
    frame = people(600)
    shop_frame(frame[:300]).to_csv(tmp_path / "shop.csv", index=False)
    bank_frame(frame[280:310]).drop(columns="default").to_csv(tmp_path / "new.csv", index=False)
    server = start("serve", folder, "--key", keys["shop"], "--half", halves["shop"], "--data", tmp_path / "shop.csv",
                   "--port", 0)  # fmt: skip
    try:
        url = read_until(server, "is served at", []).split()[-1]
        words = [sys.executable, "-m", "deepseek", "predict", halves["bank"], tmp_path / "new.csv", "--with", url,
                 "--study", folder, "--key", keys["bank"], "--json"]  # fmt: skip
        refused = subprocess.run([*map(str, words)], capture_output=True, text=True, check=False)
        assert refused.returncode in (2, 3)
        if ALIGNMENT == "same_ids":
            assert "10 of the 30 ids are not with shop" in refused.stderr
            return
        assert "people of 10 of 30 rows, the first of which is row 20" in refused.stderr
        done = subprocess.run([*map(str, words), "--broken", "skip"], capture_output=True, text=True, check=True)
        report = json.loads(done.stdout)
    finally:
        server.kill()
        with server:
            server.wait()
    assert [row["row_id"] for row in report["predictions"]] == list(range(20))
    assert report["skipped"] == list(range(20, 30))
    scores = []
    for name, table in {"bank": bank_frame(frame).drop(columns="default"), "shop": shop_frame(frame)}.items():
        with open_runtime(halves[name]) as runtime:
            scores.append(runtime.predict(read_table(table[280:300].drop(columns="person"))).values)
    expected = HalfFacts.read(open_bundle(halves["bank"])).output(scores[0].astype(float) + scores[1])[:, 1]
    answers = [row["probability_yes"] for row in report["predictions"]]
    assert np.allclose(answers, expected, atol=1e-5)
