"""`deepseek federate`: how near ten uneven parties come to all data in one place, and what protection costs.

    python benchmarks/federated.py [--quick] [--only CLAIM]

pneumoniamnist (pixels as columns) dealt to ten parties of 1/55 to 10/55 of the rows, fraud-handbook by CUSTOMER_ID, and
spoken digits of fsdd by speaker; figures on rows that no party has. The rival of accuracy is the same model by the same
steps with all rows in one place; that of rounds is FedAvg with the same local steps, ours and Flower's; that of a
secure sum is the plain sum of the same numbers as float32, for Flower's SecAgg+ is of its legacy API
(docs/decisions/0033). A round is its local steps and its messages, in CPU seconds of all parties and the coordinator.
`killed` runs a real federation over TLS and kills the coordinator or a party, again and again.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from federated_data import (
    DIGITS,
    FRAUD,
    NESTEROV,
    NUM_PARTIES,
    PNEUMONIA,
    digits_table,
    fraud_table,
    pneumonia_table,
    study_of,
)
from federated_flower import FLOWER, beside_flower
from federated_inversion import inversion
from result import claim, finish, options

from deepseek.bundle.sign import generate_keys
from deepseek.contracts import Float64
from deepseek.data import Table, read_table, split_table
from deepseek.privacy.accounting.gaussian import epsilon_of
from deepseek.privacy.parties.inputs import InputRows, read_rows
from deepseek.privacy.parties.objective import Objective
from deepseek.privacy.rounds.aggregate import Combined, combine_updates
from deepseek.privacy.rounds.answer import Answer, LocalParty
from deepseek.privacy.rounds.course import advance, combine
from deepseek.privacy.rounds.state import StudyState, begin_study
from deepseek.privacy.simulation.parts import split_parties
from deepseek.privacy.simulation.simulate import Simulation, SimulationOptions, measure_state, simulate, state_of_rows
from deepseek.privacy.study.definition import Party, Study, write_study
from deepseek.privacy.study.request import StudyRequest, make_study
from deepseek.privacy.study.settings import read_settings
from deepseek.privacy.sums.field import to_field
from deepseek.privacy.sums.protocol import MaskingParty, open_sum
from deepseek.privacy.transport.certificates import public_key_of, write_certificate
from deepseek.privacy.transport.messages import (
    answer_from_bytes,
    answer_to_bytes,
    keys_to_bytes,
    masked_from_bytes,
    masked_to_bytes,
    revealed_to_bytes,
    shares_to_bytes,
)

NUM_NUMBERS, NUM_DROPPED, NUM_REPEATS = 100_000, 2, 5
T = TypeVar("T")
WITHIN = 0.01  # of the accuracy with all data in one place
LONGEST_S = 600.0


def run_pneumonia(seed: int, *settings: str) -> Simulation:
    table = pneumonia_table("train")
    return simulate(study_of(table, "label", (), (*PNEUMONIA, *settings)), table, SimulationOptions(seed=seed))


def mean_figures(runs: list[Simulation], metric: str) -> tuple[float, float, float]:
    """Of the studies, of all data in one place, and of a party alone."""
    ours, central = (
        float(np.mean([getattr(run, name)[metric].value for run in runs])) for name in ("metrics", "central")
    )
    return ours, central, float(np.mean([[figures[metric] for figures in run.alone.values()] for run in runs]))


def pneumonia_accuracy(seeds: list[int]) -> dict[str, Any]:
    ours, central, alone = mean_figures([run_pneumonia(seed) for seed in seeds], "accuracy")
    return claim(
        "pneumonia_accuracy", ours=100 * (central - ours), unit="points below all data in one place", op="<=", bar=1.0,
        rival=100 * central, rival_name="accuracy with all data in one place, same steps", num_seeds=len(seeds),
        note=f"accuracy {100 * ours:.2f}; a party alone {100 * alone:.2f} on average",
    )  # fmt: skip


def fraud_precision(seeds: list[int]) -> dict[str, Any]:
    table = fraud_table("transactions-2018-07.parquet", 30_000)
    drop = ("TRANSACTION_ID", "CUSTOMER_ID", "TERMINAL_ID", "TX_FRAUD_SCENARIO", "TX_TIME_SECONDS", "TX_TIME_DAYS")
    study = study_of(table, "TX_FRAUD", tuple(name for name in drop if name in table.names), FRAUD)
    runs = [simulate(study, table, SimulationOptions(split="by:CUSTOMER_ID", seed=seed)) for seed in seeds]
    ours, central, alone = mean_figures(runs, "average_precision")
    return claim(
        "fraud_average_precision", ours=central - ours, unit="below all data in one place", op="<=", bar=0.02,
        rival=central, rival_name="average precision with all data in one place, same steps", num_seeds=len(seeds),
        note=f"{ours:.3f}; a party alone {alone:.3f} on average; amount and time alone, no history of cards",
    )  # fmt: skip


def digits_by_speaker(seeds: list[int]) -> dict[str, Any]:
    """Six parties, each with the digits of one speaker: how unlike rows can be."""
    table = digits_table()
    order = np.random.default_rng(0).permutation(len(table.column("digit")))
    study = study_of(table.take(order), "digit", ("speaker",), DIGITS)
    runs = [simulate(study, table, SimulationOptions(6, split="by:speaker", seed=seed)) for seed in seeds]
    ours, central, alone = mean_figures(runs, "accuracy")
    return claim(
        "digits_by_speaker", ours=100 * (central - ours), unit="points below all data in one place", op="<=", bar=1.0,
        rival=100 * central, rival_name="accuracy with all data in one place, same steps", num_seeds=len(seeds),
        note=f"accuracy {100 * ours:.2f} on all speakers; a party alone {100 * alone:.2f} on average",
    )  # fmt: skip


def rounds_needed(seeds: list[int]) -> dict[str, Any]:
    """Rounds until the accuracy is within a point of all data in one place, with Nesterov's momentum and without."""
    settings = {"ours": NESTEROV, "rival": ("rounds.strategy='fedavg'",)}
    needed: dict[str, list[int]] = {name: [] for name in settings}
    table = pneumonia_table("train")
    studies = {name: study_of(table, "label", (), (*PNEUMONIA, *own)) for name, own in settings.items()}
    study = studies["rival"]
    for seed in seeds:
        cut = split_table(table, target="label", task=study.task, test_share=0.2, validation_share=0, seed=seed)
        training, test = table.take(cut.train), read_rows(study, table.take(cut.test))
        parts = split_parties(training, "rows", NUM_PARTIES, seed)
        parties = [LocalParty.of(study, name, training.take(rows)) for name, rows in parts.items()]
        start = begin_study(study)
        start = advance(study, start, combine(study, start, [each.answer(start) for each in parties]).vector, 1.0)
        goal = _accuracy(study, state_of_rows(study, parties, start), test) - WITHIN
        for name, own_study in studies.items():
            needed[name].append(_rounds_to(goal, own_study, parties, start, test))
    ours, rival = (float(np.mean(needed[name])) for name in settings)
    return claim(
        "rounds", ours=ours, rival=rival, rival_name="FedAvg, the same local steps", ratio=ours / rival, unit="rounds",
        op="<=", bar=0.7, num_seeds=len(seeds),
        note=f"by seed {needed['ours']} and {needed['rival']}; a run that does not come there counts one round more",
    )  # fmt: skip


def _rounds_to(goal: float, study: Study, parties: list[LocalParty], state: StudyState, test: InputRows) -> int:
    parties = [replace(each, study=study, _answers={}) for each in parties]
    num_rounds = study.settings.rounds.num_rounds
    for number in range(1, num_rounds + 1):
        answers = [party.answer(state) for party in parties]
        state = advance(study, state, combine(study, state, answers).vector, 1.0)
        if _accuracy(study, state, test) >= goal:
            return number
    return num_rounds + 1


def _accuracy(study: Study, state: StudyState, rows: InputRows) -> float:
    output = Objective.of(study).probabilities(state.parameters, state.standardization.apply(rows).inputs)
    return float((output.argmax(axis=1) == rows.target).mean())


def secure_sum() -> list[dict[str, Any]]:
    """Bytes and CPU seconds of a round of ten parties, two of which drop out after their shares, against plain float32
    answers; all in this process, by the very functions that parties and coordinator call."""
    rng = np.random.default_rng(0)
    vectors = {f"p{place}": rng.uniform(-1, 1, NUM_NUMBERS) for place in range(NUM_PARTIES)}
    names = list(vectors)
    left = names[NUM_DROPPED:]
    plain = {name: answer_to_bytes(Answer(name, vectors[name], 100.0)) for name in left}
    plain_s, mean = _median_cpu_s(lambda: _run_plain_round(vectors, left))
    secure_s, (total, bytes_sent) = _median_cpu_s(lambda: _run_secure_round(vectors, left))
    expected = np.zeros(NUM_NUMBERS, np.uint32)
    for name in left:
        expected = expected + to_field(vectors[name], 1.0, NUM_PARTIES)
    wrong = int((total != expected).sum())
    plain_bytes = sum(map(len, plain.values()))
    note = f"{NUM_NUMBERS:,} numbers, {NUM_PARTIES} parties, {NUM_DROPPED} drop out"
    steps_s, _ = _median_cpu_s(_local_steps())
    error = float(np.abs(mean.vector - np.mean([vectors[name] for name in left], axis=0)).max())
    return [
        claim("secure_bytes", ours=float(bytes_sent), rival=float(plain_bytes), rival_name="plain float32 answers",
              ratio=bytes_sent / plain_bytes, unit="bytes to the coordinator", op="<=", bar=1.3, note=note),
        claim("secure_exact", ours=float(wrong), unit="numbers of the sum that are not exact in the field", op="<=",
              bar=0.0, note=f"{note}; float32 plain mean is off by {error:.1e}"),
        claim("secure_round", ours=steps_s + secure_s, rival=steps_s + plain_s, rival_name="a plain round",
              ratio=(steps_s + secure_s) / (steps_s + plain_s), unit="CPU s of a round", op="<=", bar=1.3,
              note=f"{note}; {steps_s:.2f} s of it local steps of a net of 99,541 numbers, two passes over all rows"),
        claim("secure_cpu", ours=secure_s, rival=plain_s, rival_name="plain float32 answers", ratio=secure_s / plain_s,
              unit="CPU s of all parties and the coordinator", note=f"{note}; ten parties share one process here"),
    ]  # fmt: skip


def _median_cpu_s(run: Callable[[], T]) -> tuple[float, T]:
    """The median CPU seconds of NUM_REPEATS runs, and what the last one gave."""
    seconds = []
    for _ in range(NUM_REPEATS):
        start = time.process_time()
        result = run()
        seconds.append(time.process_time() - start)
    return float(np.median(seconds)), result


def _local_steps() -> Callable[[], None]:
    """The local steps of ten parties in one round of pneumoniamnist, with a net of as many numbers."""
    table = pneumonia_table("train")
    study = study_of(table, "label", (), (*PNEUMONIA, "model.widths=[105]"))
    parts = split_parties(table, "rows", NUM_PARTIES, 1)
    parties = [LocalParty.of(study, name, table.take(rows)) for name, rows in parts.items()]
    state = begin_study(study)
    state = advance(study, state, combine(study, state, [each.answer(state) for each in parties]).vector, 1.0)

    def run() -> None:
        for party in parties:
            replace(party, _answers={}).answer(state)

    return run


def _run_plain_round(vectors: dict[str, Float64], left: list[str]) -> Combined:
    bodies = {name: answer_to_bytes(Answer(name, vectors[name], 100.0)) for name in left}
    return combine_updates([answer_from_bytes(name, body) for name, body in bodies.items()], read_settings(None).rounds)


def _run_secure_round(vectors: dict[str, Float64], left: list[str]) -> tuple[Any, int]:
    threshold = NUM_PARTIES // 2 + 1
    parties = {name: MaskingParty(name, threshold, "1/0") for name in vectors}
    keys = {name: party.keys for name, party in parties.items()}
    bytes_sent = sum(len(keys_to_bytes(each, 100.0)) for each in keys.values())
    sealed = {name: party.seal_shares(keys) for name, party in parties.items()}
    bytes_sent += sum(len(shares_to_bytes(each)) for each in sealed.values())
    masked = {}
    for name in left:
        numbers = to_field(vectors[name], 1.0, NUM_PARTIES)
        body = masked_to_bytes(parties[name].mask(numbers, {sender: sealed[sender][name] for sender in parties}))
        bytes_sent += len(body)
        masked[name] = masked_from_bytes(name, body, NUM_NUMBERS)
    revealed = {name: parties[name].reveal(left) for name in left}
    bytes_sent += sum(len(revealed_to_bytes(each)) for each in revealed.values())
    return open_sum(masked, keys, list(parties), revealed, threshold, "1/0"), bytes_sent


def robust(seeds: list[int]) -> dict[str, Any]:
    """Accuracy that is lost when 2 of 10 parties send ten times the negative of their update, by rule."""
    table, losses = pneumonia_table("train"), dict[str, list[float]]()
    for seed in seeds:
        test = pneumonia_table("val")
        parts = split_parties(table, "rows", NUM_PARTIES, seed)
        clean = _accuracy_under_attack(table, parts, test, "mean", attacked=False)
        for rule in ("mean", "trimmed_mean", "median", "krum"):
            losses.setdefault(rule, []).append(clean - _accuracy_under_attack(table, parts, test, rule, attacked=True))
    lost = {rule: 100 * float(np.mean(values)) for rule, values in losses.items()}
    best = min(("trimmed_mean", "median", "krum"), key=lost.__getitem__)
    shown = ", ".join(f"{rule} {value:.1f}" for rule, value in lost.items())
    return claim(
        "robust", ours=lost[best], rival=lost["mean"], rival_name="plain mean", unit="points of accuracy lost", op="<=",
        bar=2.0, num_seeds=len(seeds), note=f"2 of 10 send -10 times their update; {shown}",
    )  # fmt: skip


def _accuracy_under_attack(table: Table, parts: dict[str, Any], test: Table, rule: str, *, attacked: bool) -> float:
    num_malicious = "rounds.num_malicious=2" if rule in ("trimmed_mean", "krum") else "rounds.num_malicious=0"
    settings = (*PNEUMONIA, f"rounds.rule='{rule}'", num_malicious, "rounds.min_parties=10")
    study = study_of(table, "label", (), settings)
    parties = [LocalParty.of(study, name, table.take(rows)) for name, rows in parts.items()]
    malicious = {party.name for party in parties[4:6]} if attacked else set()
    state = begin_study(study)
    while state.kind(study) in ("moments", "training"):
        answers = [party.answer(state) for party in parties]
        if state.kind(study) == "training":
            answers = [replace(each, vector=-10 * each.vector) if each.party in malicious else each for each in answers]
        state = advance(study, state, combine(study, state, answers).vector, 1.0)
    return measure_state(study, state, test)["accuracy"].value


def accountant() -> dict[str, Any]:
    """The largest relative difference of our exact epsilon to Opacus' accountant of privacy loss distributions."""
    from opacus.accountants import PRVAccountant

    worst = 0.0
    for noise, num_rounds in ((2.0, 10), (4.0, 50), (8.0, 200)):
        rival = PRVAccountant()
        rival.history = [(noise, 1.0, num_rounds)]
        ours = epsilon_of(noise, num_rounds, 1e-5)
        worst = max(worst, abs(rival.get_epsilon(1e-5, eps_error=0.001) / ours - 1))
    return claim("accountant", ours=worst, unit="relative difference of epsilon", op="<=", bar=0.01,
                 rival_name="Opacus PRVAccountant", note="three budgets; every party in every round")  # fmt: skip


def killed(num_kills: int) -> dict[str, Any]:
    """A federation of three parties over TLS with secure sums, in which the coordinator or a party is killed and
    started again; an update that counts twice, or a study that does not end, is a failure."""
    with tempfile.TemporaryDirectory(prefix="federated-") as name:
        folder = Path(name)
        num_rounds = num_kills + 5
        study, keys, url = _make_federation(folder, num_rounds)
        commands = {"hub": ["serve", str(study), "--key", str(keys["hub"]), "--port", url.rpartition(":")[2],
                            "--out", str(folder / "bundle")]}  # fmt: skip
        for party in ("ada", "bob", "cyd"):
            commands[party] = ["join", url, "--study", str(study), "--data", str(folder / f"{party}.csv"),
                               "--key", str(keys[party])]  # fmt: skip
        running = {each: _start(words) for each, words in commands.items()}
        rng, survived = np.random.default_rng(0), 0
        for _ in range(num_kills):
            before = _latest_task(study)
            _wait_for(lambda before=before: _latest_task(study) > before or running["hub"].poll() is not None)
            if running["hub"].poll() is not None:
                break
            victim = str(rng.choice(["hub", "hub", "ada", "bob", "cyd"]))
            running[victim].send_signal(signal.SIGKILL)
            running[victim].wait()
            running[victim] = _start(commands[victim])
            survived += 1
        for process in running.values():
            process.wait(LONGEST_S)
        records = json.loads((folder / "bundle" / "evidence" / "transcript.json").read_text())["records"]
        twice = sum(
            len(record["parties"]) != len(set(record["parties"])) or sorted(record["parties"]) != sorted(
                message["party"] for message in record["messages"] if message["step"] == "masked"
            )
            for record in records
        )  # fmt: skip
        assert [record["task"] for record in records] == list(range(num_rounds + 2))
    return claim("killed", ours=float(survived - twice), unit=f"of {num_kills} kills that the study went on after",
                 op=">=", bar=float(num_kills), note=f"{twice} rounds with an update that counts twice")  # fmt: skip


def _make_federation(folder: Path, num_rounds: int) -> tuple[Path, dict[str, Path], str]:
    keys = {name: generate_keys(folder / f"key-{name}")[0] for name in ("ada", "bob", "cyd", "hub")}
    rng = np.random.default_rng(0)
    for name in ("ada", "bob", "cyd"):
        rows = rng.normal(size=(300, 3))
        labels = rows.sum(axis=1) + rng.normal(size=300) > 0
        words = np.where(labels, "yes", "no")
        lines = [",".join([*(f"{value:.4f}" for value in row), word]) for row, word in zip(rows, words, strict=True)]
        (folder / f"{name}.csv").write_text("\n".join(["a,b,c,y", *lines]) + "\n")
    settings = read_settings(None, (f"rounds.num_rounds={num_rounds}", "rounds.min_parties=3", "rounds.deadline_s=2",
                                    "protection.secure_sums=true"))  # fmt: skip
    parties = tuple(Party(name, public_key_of(keys[name])) for name in ("ada", "bob", "cyd"))
    request = StudyRequest("study", "y", parties=parties, coordinator=Party("hub", public_key_of(keys["hub"])))
    study = write_study(folder / "study", make_study(read_table(folder / "ada.csv"), request, settings))
    for party in parties:
        study.sign(party, keys[party.name])
        write_certificate(study, party, keys[party.name])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return study.path, keys, f"https://127.0.0.1:{port}"


def _start(words: list[str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "deepseek", "federate", *words]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _latest_task(study: Path) -> int:
    return max((int(path.name) for path in (study / "coordinator").glob("[0-9]*")), default=-1)


def _wait_for(is_so: Callable[[], bool]) -> None:
    limit = time.monotonic() + LONGEST_S
    while not is_so():
        if time.monotonic() > limit:
            raise TimeoutError("the study does not go on")
        time.sleep(0.02)


def main() -> int:
    few, many = [1], [1, 2, 3]
    runs: dict[str, Callable[[bool], list[dict[str, Any]]]] = {
        "pneumonia_accuracy": lambda quick: [pneumonia_accuracy(few if quick else many)],
        "fraud_average_precision": lambda quick: [fraud_precision(few if quick else many)],
        "digits_by_speaker": lambda quick: [digits_by_speaker(few if quick else many)],
        "beside_flower": lambda quick: beside_flower(few if quick else many),
        "rounds": lambda quick: [rounds_needed(few if quick else many)],
        "secure_bytes": lambda _: secure_sum(),
        "robust": lambda quick: [robust(few if quick else many)],
        "gradient_inversion": lambda quick: inversion(2 if quick else 10),
        "accountant": lambda _: [accountant()],
        "killed": lambda quick: [killed(10 if quick else 50)],
    }
    args = options(__doc__, runs, quick="one seed instead of three, 10 kills instead of 50.").parse_args()
    chosen = [args.only] if args.only else [name for name in runs if name != "beside_flower" or FLOWER.exists()]
    claims: list[dict[str, Any]] = []
    status = 0
    for place, name in enumerate(chosen, 1):
        claims += runs[name](args.quick)
        status = finish("federated", claims, not_run=[*chosen[place:], *(each for each in runs if each not in chosen)])
    return status


if __name__ == "__main__":
    sys.exit(main())
