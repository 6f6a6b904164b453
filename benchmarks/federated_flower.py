"""Ten uneven parties beside Flower's FedAvg by its current API, run in an environment of its own (rivals/setup.sh): the
same rows, first parameters, local steps and number of rounds."""

from __future__ import annotations

import json
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from federated_data import NESTEROV, NUM_PARTIES, PNEUMONIA, pneumonia_table, study_of
from result import ROOT, claim

from deepseek.data import split_table
from deepseek.privacy.parties.inputs import InputRows, read_rows
from deepseek.privacy.parties.objective import Objective
from deepseek.privacy.rounds.answer import LocalParty
from deepseek.privacy.rounds.course import advance, combine
from deepseek.privacy.rounds.state import StudyState, begin_study
from deepseek.privacy.simulation.parts import split_parties
from deepseek.privacy.simulation.simulate import state_of_rows
from deepseek.privacy.study.definition import Study

FLOWER = ROOT / ".venv-flower" / "bin" / "python"
RIVAL = Path(__file__).parent / "rivals" / "flower_fedavg.py"
WITHIN = 0.01  # of the accuracy with all data in one place


def beside_flower(seeds: list[int]) -> list[dict[str, Any]]:
    """How far below all data in one place each is after the last round, and in which round it was within a point."""
    study = study_of(pneumonia_table("train"), "label", (), (*PNEUMONIA, *NESTEROV))
    below: dict[str, list[float]] = {"ours": [], "Flower": []}
    needed: dict[str, list[int]] = {"ours": [], "Flower": []}
    version = ""
    for seed in seeds:
        parties, test = _parties(study, seed)
        start = begin_study(study)
        start = advance(study, start, combine(study, start, [each.answer(start) for each in parties]).vector, 1.0)
        central = accuracy(study, state_of_rows(study, parties, start), test)
        flower = run_flower(study, parties, start, test, seed)
        version = flower["version"]
        for name, curve in {"ours": run_ours(study, parties, start, test), "Flower": flower["accuracies"]}.items():
            below[name].append(100 * (central - curve[-1]))
            reached = [number for number, value in enumerate(curve, 1) if value >= central - WITHIN]
            needed[name].append(min(reached, default=len(curve) + 1))
    rival = f"FedAvg of Flower {version}"
    rounds = {name: float(np.mean(values)) for name, values in needed.items()}
    return [
        claim(
            "accuracy_beside_flower", ours=float(np.mean(below["ours"])), rival=float(np.mean(below["Flower"])),
            rival_name=rival, unit="points below all data in one place", op="<=", bar=1.0, num_seeds=len(seeds),
            note=f"after {study.settings.rounds.num_rounds} rounds of the same local steps",
        ),
        claim(
            "rounds_beside_flower", ours=rounds["ours"], rival=rounds["Flower"], rival_name=rival, op="<=", bar=0.7,
            ratio=rounds["ours"] / rounds["Flower"], unit="rounds to a point below", num_seeds=len(seeds),
            note=f"by seed {needed['ours']} and {needed['Flower']}; one that does not come there counts one more",
        ),
    ]  # fmt: skip


def _parties(study: Study, seed: int) -> tuple[list[LocalParty], InputRows]:
    table = pneumonia_table("train")
    cut = split_table(table, target="label", task=study.task, test_share=0.2, validation_share=0, seed=seed)
    training, test = table.take(cut.train), read_rows(study, table.take(cut.test))
    parts = split_parties(training, "rows", NUM_PARTIES, seed)
    return [LocalParty.of(study, name, training.take(rows)) for name, rows in parts.items()], test


def run_ours(study: Study, parties: list[LocalParty], state: StudyState, test: InputRows) -> list[float]:
    """Accuracy after each round."""
    parties, curve = [replace(each, _answers={}) for each in parties], []
    for _ in range(study.settings.rounds.num_rounds):
        answers = [party.answer(state) for party in parties]
        state = advance(study, state, combine(study, state, answers).vector, 1.0)
        curve.append(accuracy(study, state, test))
    return curve


def run_flower(
    study: Study, parties: list[LocalParty], state: StudyState, test: InputRows, seed: int
) -> dict[str, Any]:
    """Its version, and accuracies after each round."""
    rounds, objective = study.settings.rounds, Objective.of(study)
    arrays: dict[str, Any] = {
        "sizes": np.array(objective.sizes), "parameters": state.parameters, "lr": rounds.lr, "seed": seed,
        "weight_decay": study.settings.model.weight_decay, "local_epochs": rounds.local_epochs,
        "batch_size": rounds.batch_size, "num_rounds": rounds.num_rounds, "num_parties": len(parties),
        "test_inputs": state.standardization.apply(test).inputs, "test_target": test.target,
    }  # fmt: skip
    for place, party in enumerate(parties):
        rows = state.standardization.apply(party.training)
        arrays |= {f"inputs_{place}": rows.inputs, f"target_{place}": rows.target}
    with tempfile.TemporaryDirectory(prefix="flower-") as folder:
        path = Path(folder) / "task.npz"
        np.savez(path, **arrays)
        environment = {"HOME": folder, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        done = subprocess.run([FLOWER, RIVAL, path], capture_output=True, text=True, check=True, env=environment)
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


def accuracy(study: Study, state: StudyState, rows: InputRows) -> float:
    output = Objective.of(study).probabilities(state.parameters, state.standardization.apply(rows).inputs)
    return float((output.argmax(axis=1) == rows.target).mean())
