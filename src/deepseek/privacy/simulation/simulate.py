"""A whole study in one process, measured on rows that no party has, beside each party alone and all data in one place.

    simulation = simulate(study, table, SimulationOptions(num_parties=10, split="by:CUSTOMER_ID"))

What the parties compute is what they compute in a real study, to the bit; the network is not simulated.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from deepseek.contracts import Figure, Float64, JsonObject
from deepseek.data import Table, split_table
from deepseek.look.summary import fact_table, figure_table, render_text
from deepseek.privacy.bundles.pack import StudyOutcome, pack_study
from deepseek.privacy.bundles.transcript import MessageRecord, PrivacySpent, RoundRecord, Transcript, privacy_spent
from deepseek.privacy.parties.held_rows import figures_of_counts
from deepseek.privacy.parties.inputs import InputRows, read_rows
from deepseek.privacy.parties.learner import learner_of
from deepseek.privacy.rounds.answer import Answer, LocalParty, check_sum_hides_rows
from deepseek.privacy.rounds.course import advance, combine
from deepseek.privacy.rounds.state import StudyState, begin_study
from deepseek.privacy.simulation.parts import split_parties
from deepseek.privacy.study.definition import Party, Study
from deepseek.privacy.study.vertical import refuse_vertical
from deepseek.results import Result
from deepseek.train.tabular.metrics import auc, default_metric, find_metric, measure_figures

BYTES_PER_NUMBER = 4
TEST_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class SimulationOptions:
    """How a table becomes a study."""

    num_parties: int = 10
    split: str = "rows"  # or by:COLUMN
    seed: int = 0
    out: Path | None = None  # of the bundle; None writes none
    key: Path | None = None  # private key that signs it
    overwrite: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Simulation(Result):
    """What a study may expect. Every figure is on the same test rows, which no party holds."""

    num_rows: dict[str, int]  # of each party
    metrics: dict[str, Figure]  # of the federated model
    central: dict[str, Figure]  # of the same model with all rows in one place
    alone: dict[str, dict[str, float]]  # of each party's own model, by party
    metric: str  # what the task is judged by
    curves: dict[str, tuple[float, ...]]  # of the federated model after each round: the metric, and accuracy or rmse
    bytes_by_party: dict[str, int]  # that left each house
    membership_auc: dict[str, float]  # of telling rows of training by their loss: "federated", "central"; 0.5 is chance
    privacy: PrivacySpent | None = None
    bundle: Path | None = None
    digest: str | None = None

    def to_dict(self) -> JsonObject:
        return {
            "parties": self.num_rows,
            "metrics": {name: asdict(figure) for name, figure in self.metrics.items()},
            "central": {name: asdict(figure) for name, figure in self.central.items()},
            "alone": self.alone,
            "metric": self.metric,
            "curves": {name: list(curve) for name, curve in self.curves.items()},
            "bytes_by_party": self.bytes_by_party,
            "membership_auc": self.membership_auc,
            "privacy": None if self.privacy is None else asdict(self.privacy),
            "bundle": None if self.bundle is None else str(self.bundle),
            "digest": self.digest,
        }

    def summary(self) -> str:
        return render_text(self.summary_parts())

    def summary_parts(self) -> list[object]:
        """What the terminal shows: the federated model beside all data in one place, and each party alone."""
        plain = self.to_dict()
        values = sorted(figures[self.metric] for figures in self.alone.values() if self.metric in figures)
        facts: list[tuple[str, object]] = [
            ("parties", f"{len(self.num_rows)}, of {min(self.num_rows.values()):,} to {max(self.num_rows.values()):,}"),
            (f"{self.metric} of a party alone", f"{values[0]:.4g} to {values[-1]:.4g}" if values else "none"),
            ("bytes that left the largest sender", f"{max(self.bytes_by_party.values()):,}"),
            ("telling who was in training", f"AUC {self.membership_auc['federated']:.3f}; .5 is chance"),
        ]
        if self.privacy is not None:
            facts.append(("privacy", f"epsilon {self.privacy.epsilon:.3g} at delta {self.privacy.delta:g}"))
        if self.bundle is not None:
            facts.append(("bundle", str(self.bundle)))
        return ["the federated model, beside all data in one place", figure_table(plain["metrics"], plain["central"]),
                fact_table(facts)]  # fmt: skip


def simulate(study: Study, table: Table, options: SimulationOptions) -> Simulation:
    """Run the study. InputError for a table of another schema, or parties that would have too few rows; CheckError for
    masked sums over so few that they would hide nothing."""
    refuse_vertical(study)
    cut = split_table(
        table, target=study.target, task=study.task, test_share=TEST_SHARE, validation_share=0, seed=options.seed
    )
    training, test = table.take(cut.train), read_rows(study, table.take(cut.test))
    parts = split_parties(training, options.split, options.num_parties, options.seed)
    parties = [LocalParty.of(study, name, training.take(rows)) for name, rows in parts.items()]
    if study.settings.protection.secure_sums:
        check_sum_hides_rows(study, sum(party.weight for party in parties))
    metric = default_metric(study.task, test.target)
    outcome, curves = _run_rounds(study, parties, test, curve_metrics(study, metric))
    central = state_of_rows(study, parties, outcome.state)
    report = Simulation(
        num_rows={name: len(rows) for name, rows in parts.items()},
        metrics=_measure(study, outcome.state, test, options.seed),
        central=_measure(study, central, test, options.seed),
        alone={party.name: _alone(study, party, outcome.state, test) for party in parties},
        metric=metric, curves=curves,
        bytes_by_party=outcome.transcript.bytes_by_party(), privacy=outcome.spent,
        membership_auc={
            "federated": _membership_auc(study, outcome.state, parties, test),
            "central": _membership_auc(study, central, parties, test),
        },
    )  # fmt: skip
    if options.out is None:
        return report
    members = tuple(Party(party.name, "") for party in parties)
    figure_names = ("metrics", "central", "alone", "membership_auc", "curves")
    comparison = {name: value for name, value in report.to_dict().items() if name in figure_names}
    packed = replace(outcome, study=replace(study, parties=members, coordinator=None), comparison=comparison)
    bundle = pack_study(packed, options.out, key=options.key, overwrite=options.overwrite)
    return replace(report, bundle=bundle.path, digest=bundle.digest)


def curve_metrics(study: Study, metric: str) -> tuple[str, ...]:
    """What is measured after each round, and of each party alone."""
    return tuple(sorted({metric, "rmse" if study.task == "regression" else "accuracy"}))


def _run_rounds(
    study: Study, parties: Sequence[LocalParty], test: InputRows, metrics: tuple[str, ...]
) -> tuple[StudyOutcome, dict[str, tuple[float, ...]]]:
    """All tasks, with the metrics on the test rows after each training round."""
    state, transcript = begin_study(study), Transcript(study.digest)
    points: dict[str, list[float]] = {name: [] for name in metrics}
    figures: dict[str, float] = {}
    while (kind := state.kind(study)) is not None:
        answers = [party.answer(state) for party in parties]
        combined = combine(study, state, answers)
        transcript = transcript.append(_record(state, kind, answers, combined.parties, transcript))
        if kind == "figures":
            total = sum(party.weight for party in parties)
            figures = figures_of_counts(study.task, combined.vector * total, study.target_scale)
        state = advance(study, state, combined.vector, 1.0)
        if kind == "training":
            for name, value in _point(study, state, test, metrics).items():
                points[name].append(value)
    spent = privacy_spent(study, transcript.num_training_rounds)
    curves = {name: tuple(values) for name, values in points.items()}
    return StudyOutcome(study, state, transcript, figures, spent, is_simulated=True), curves


def _point(study: Study, state: StudyState, rows: InputRows, metrics: tuple[str, ...]) -> dict[str, float]:
    """Metrics by name, without intervals; values of regression in the study's scale."""
    output, weight = _output(study, state, rows), np.ones(len(rows))
    return {name: float(find_metric(study.task, name).function(rows.target, output, weight)) for name in metrics}


def _record(
    state: StudyState, kind: str, answers: Sequence[Answer], counted: tuple[str, ...], transcript: Transcript
) -> RoundRecord:
    messages = tuple(
        MessageRecord(
            answer.party, "answer", BYTES_PER_NUMBER * answer.vector.size,
            hashlib.sha256(answer.vector.astype(np.float32).tobytes()).hexdigest(), "",
        )
        for answer in answers
    )  # fmt: skip
    left_out = tuple(answer.party for answer in answers if answer.party not in counted)
    digest = hashlib.sha256(state.shared_bytes()).hexdigest()
    return RoundRecord(state.task, kind, 0, counted, left_out, messages, digest, transcript.last_digest)


def state_of_rows(study: Study, parties: Sequence[LocalParty], final: StudyState) -> StudyState:
    """The same model by the same steps, with the training rows of these parties in one place."""
    rows = InputRows(
        np.concatenate([party.training.inputs for party in parties]),
        np.concatenate([party.training.target for party in parties]),
    )
    settings = study.settings
    plain = replace(study, settings=replace(
        settings, rounds=replace(settings.rounds, strategy="fedavg", rule="mean", norm_bound=None),
        budget=replace(settings.budget, noise=0.0, epsilon=None),
    ))  # fmt: skip
    owner = LocalParty(plain, "all", rows, rows)
    state = replace(begin_study(plain), task=1, standardization=final.standardization)
    while state.kind(plain) == "training":
        state = advance(plain, state, owner.answer(state).vector, 1.0)
    return state


def _alone(study: Study, party: LocalParty, final: StudyState, test: InputRows) -> dict[str, float]:
    metrics = curve_metrics(study, default_metric(study.task, test.target))
    return _point(study, state_of_rows(study, [party], final), test, metrics)


def _membership_auc(study: Study, state: StudyState, parties: Sequence[LocalParty], test: InputRows) -> float:
    """How well the model's loss of a row tells that it was trained on (Yeom et al. 2018, section 3.2): the AUC of rows
    of training against test rows."""
    members = [_losses(study, state, party.training) for party in parties]
    scores = -np.concatenate([*members, _losses(study, state, test)])
    is_member = np.arange(len(scores)) < len(scores) - len(test)
    return auc(is_member.astype(np.int64), np.stack([-scores, scores], axis=1), np.ones(len(scores)))


def _losses(study: Study, state: StudyState, rows: InputRows) -> Float64:
    """Of each row (N,): log loss, or squared error."""
    output = _output(study, state, rows)
    if study.task == "regression":
        return np.asarray((output[:, 0] - rows.target) ** 2, np.float64)
    return np.asarray(-np.log(np.clip(output[np.arange(len(rows)), rows.target], 1e-15, 1)), np.float64)


def _output(study: Study, state: StudyState, rows: InputRows) -> Float64:
    inputs = state.standardization.apply(rows).inputs
    return learner_of(study).probabilities(state.parameters, inputs)


def measure_state(study: Study, state: StudyState, table: Table, seed: int = 0) -> dict[str, Figure]:
    """Figures of the model of a state on a table in the schema of the study."""
    return _measure(study, state, read_rows(study, table), seed)


def _measure(study: Study, state: StudyState, rows: InputRows, seed: int) -> dict[str, Figure]:
    target, output = rows.target, _output(study, state, rows)
    if study.task == "regression":
        target = target * study.target_scale + study.target_centre
        output = output * study.target_scale + study.target_centre
    return measure_figures(study.task, target, output, seed=seed)
