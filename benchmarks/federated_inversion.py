"""How well pictures are read out of what a coordinator sees: the attack of `federated.py --only gradient_inversion`.

The weights of a unit of the first layer change by a sum of inputs times their errors, and its bias by the sum of the
errors, so that their ratio is a weighted mean of the pictures at which the unit was active: one picture where it was
active at one alone (Boenisch et al. 2023). Every unit gives a reading, and the one that is nearest to a picture counts
as the attack's, although an attacker does not know which it is.

What needs no gradient is given as many guesses: the means of as many groups of pictures that no party has.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from federated_data import NUM_PARTIES, PNEUMONIA, pneumonia_table, study_of
from numpy.typing import NDArray
from result import claim

from deepseek.contracts import Float64
from deepseek.data import Table
from deepseek.privacy.parties.inputs import InputRows
from deepseek.privacy.parties.objective import Objective
from deepseek.privacy.rounds.answer import LocalParty
from deepseek.privacy.rounds.course import advance, combine
from deepseek.privacy.rounds.state import StudyState, begin_study
from deepseek.privacy.simulation.parts import split_parties
from deepseek.privacy.study.definition import Study
from deepseek.privacy.sums.field import from_field, to_field

NUM_PIXELS = 784
LARGEST_DB = 120.0


class PixelInputs:
    """Which inputs of a study are pixels as they are, and back from inputs to pixels."""

    def __init__(self, study: Study) -> None:
        scaling = study.inputs
        plain = [place for place, logged in enumerate(scaling.logged) if not logged]
        features = [study.preprocessor.features[scaling.numeric[place]] for place in plain]
        self._inputs = np.array(plain)
        self._pixels = np.array([int(feature.column[1:]) for feature in features])
        self._centre, self._scale = np.array(scaling.centre)[plain], np.array(scaling.scale)[plain]

    def pictures(self, inputs: NDArray[Any]) -> Float64:
        """Pixels (N, 784) of inputs (N, D), before they are standardized."""
        pixels = np.zeros((len(inputs), NUM_PIXELS))
        pixels[:, self._pixels] = inputs[:, self._inputs] * self._scale + self._centre
        return np.clip(pixels, 0, 1)


def read_units(objective: Objective, change: Float64, state: StudyState, pixels: PixelInputs) -> Float64:
    """The readings (units, 784) of a change of parameters (P,); of units that did not change there is none."""
    weight, bias = objective.layers(change)[0]
    units = np.flatnonzero(np.abs(bias) > 1e-3 * max(float(np.abs(bias).max()), 1e-12))
    inputs = (weight[:, units] / bias[units]).T
    return pixels.pictures(inputs * state.standardization.spread + state.standardization.mean)


def nearest_db(readings: Float64, pictures: Float64) -> Float64:
    """PSNR (N,) of each picture by the reading that is nearest to it."""
    errors = np.stack([((pictures - reading) ** 2).mean(axis=1) for reading in readings]).min(axis=0)
    return np.asarray(np.minimum(-10 * np.log10(np.maximum(errors, 1e-12)), LARGEST_DB), np.float64)


def typical_pictures(pictures: Float64, num: int) -> Float64:
    """Means (num, 784) of groups of pictures that are near each other."""
    from sklearn.cluster import KMeans

    return np.asarray(KMeans(num, n_init=3, random_state=0).fit(pictures).cluster_centers_, np.float64)


def attack(
    study: Study, tables: dict[str, Table], num_rounds: int, *, rows_each: int | None = None
) -> tuple[Float64, Float64, Float64]:
    """PSNR (N,) of each training picture by the readings of the sum of all parties, by those of its own party's update,
    and by the mean picture of all, after the round of num_rounds in which the attack on the sum does best.

    `rows_each`: rows that a party learns from, where they are fewer than a study admits.
    """
    parties = [LocalParty.of(study, name, table) for name, table in tables.items()]
    if rows_each is not None:
        parties = [replace(each, training=each.training.take(np.arange(rows_each))) for each in parties]
    objective, pixels, state = Objective.of(study), PixelInputs(study), begin_study(study)
    pictures = [pixels.pictures(party.training.inputs) for party in parties]
    everything = np.concatenate(pictures)
    best_sum, best_own = np.full(len(everything), -np.inf), np.full(len(everything), -np.inf)
    for task in range(num_rounds + 2):  # moments, and a round in which the last layer is zero and says nothing
        answers = [party.answer(state) for party in parties]
        if task > 1:
            most = max(answer.weight for answer in answers)
            bound, num = study.settings.protection.update_bound, len(parties)
            fields = [to_field(answer.vector * answer.weight / most, bound, num) for answer in answers]
            total = from_field(np.sum(fields, axis=0, dtype=np.uint32), bound, num)
            on_sum = nearest_db(read_units(objective, total, state, pixels), everything)
            if on_sum.mean() > best_sum.mean():
                best_sum = on_sum
                best_own = np.concatenate([
                    nearest_db(read_units(objective, answer.vector, state, pixels), own)
                    for answer, own in zip(answers, pictures, strict=True)
                ])  # fmt: skip
        state = advance(study, state, combine(study, state, answers).vector, 1.0)
    return best_sum, best_own, nearest_db(everything.mean(axis=0, keepdims=True), everything)


def own_picture(study: Study, table: Table) -> float:
    """PSNR of the one picture that a party took one step on, out of its own update."""
    party = LocalParty.of(study, "party", table)
    objective, pixels, state = Objective.of(study), PixelInputs(study), begin_study(study)
    picture: InputRows = party.training.take(np.array([0]))
    parameters = np.random.default_rng(0).normal(0, 0.05, objective.num_parameters)
    readings = read_units(objective, objective.gradient(parameters, picture), state, pixels)
    return float(nearest_db(readings, pixels.pictures(picture.inputs))[0])


def inversion(num_draws: int) -> list[dict[str, Any]]:
    """How near pictures are read out of the sum of ten parties that have as few rows as a study admits, ten each, and
    take one step on all of them: the most that a study under masks gives away. The bar is one of the reading alone;
    what it adds to what needs no gradient is the second claim."""
    table, others = pneumonia_table("train"), pneumonia_table("val")
    one_step = ("rounds.local_epochs=1", "rounds.batch_size=4096", "protection.secure_sums=true")
    study = study_of(table, "label", (), (*PNEUMONIA, *one_step, "rounds.min_parties=6"))
    guesses = typical_pictures(_pixels(others), study.settings.model.widths[0])
    draws = [_attack_draw(study, table, guesses, seed) for seed in range(num_draws)]
    on_sum, on_own, mean_picture, guessed, single = np.mean(draws, axis=0).tolist()
    whole = study_of(table, "label", (), PNEUMONIA)
    parts = split_parties(table, "rows", NUM_PARTIES, 1)
    as_it_runs, _, _ = attack(whole, {name: table.take(rows) for name, rows in parts.items()}, 3)
    alone = own_picture(study, table.take(np.arange(10)))
    shared = f"{num_draws} draws of ten parties of 10 pictures, 8 of them learned from, one step"
    return [
        claim(
            "gradient_inversion", ours=on_sum, rival=on_own, rival_name="the party's own update, without secure sums",
            unit="dB PSNR of the reading nearest to a picture", op="<=", bar=10.0, num_seeds=num_draws,
            note=f"{shared}; the mean picture, which needs no gradient, is at {mean_picture:.1f} dB, and who knows it "
            f"is not held to 10; in the study as it runs {as_it_runs.mean():.1f}; of a party's update on one picture "
            f"{alone:.0f}; out of a sum over ten pictures in all, which parties refuse to open, {single:.1f}",
        ),
        claim(
            "gradient_inversion_gain", ours=on_sum - guessed, rival=on_own - guessed, num_seeds=num_draws,
            rival_name="the party's own update, without secure sums", op="<=", bar=0.0,
            unit="dB above as many typical pictures, which need no gradient",
            note=f"{shared}; means of {len(guesses)} groups of validation pictures are at {guessed:.1f} dB",
        ),
    ]  # fmt: skip


def _attack_draw(study: Study, table: Table, guesses: Float64, seed: int) -> tuple[float, ...]:
    rows = np.random.default_rng(seed).choice(len(table), 10 * NUM_PARTIES, replace=False).reshape(NUM_PARTIES, -1)
    tables = {f"p{place}": table.take(np.sort(each)) for place, each in enumerate(rows)}
    on_sum, on_own, mean_picture = attack(study, tables, 3)
    single, _, _ = attack(study, tables, 3, rows_each=1)
    guessed = nearest_db(guesses, _pixels(table)[np.sort(rows.ravel())])
    return tuple(float(each.mean()) for each in (on_sum, on_own, mean_picture, guessed, single))


def _pixels(table: Table) -> Float64:
    return np.stack([table.column(f"p{place}") for place in range(784)], axis=1)
