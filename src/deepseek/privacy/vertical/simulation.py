"""A vertical study with both houses in this process, from one table of all columns: what may be expected of it.

simulation = simulate_vertical(study, table, HalfTargets(...))

Every message is made, encrypted and read as between two houses, and nothing of a network. The rows are joined by the
ids of the table, without an intersection.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from deepseek.contracts import Figure, JsonObject
from deepseek.data import Table
from deepseek.look.summary import fact_table, figure_table, render_text
from deepseek.privacy.study.definition import Study
from deepseek.privacy.study.vertical import ROLES, vertical_columns
from deepseek.privacy.vertical.envelope import HouseSigner
from deepseek.privacy.vertical.halves import HalfTarget, JointFigures, measure_joint, measure_scores, pack_half
from deepseek.privacy.vertical.house import House
from deepseek.privacy.vertical.houses import read_house
from deepseek.privacy.vertical.learning import HouseLearner
from deepseek.privacy.vertical.memory import MemoryFile
from deepseek.privacy.vertical.sessions import ColumnHouse, LabelHouse
from deepseek.results import Result
from deepseek.train.tabular.metrics import default_metric


@dataclass(frozen=True, slots=True, eq=False)
class VerticalSimulation(Result):
    """What a vertical study may expect. Every figure is on the same rows, which were held back from everything."""

    num_rows: int  # that both houses share
    metrics: dict[str, Figure]
    central: dict[str, Figure]  # by the same steps with all columns in one place
    alone: dict[str, dict[str, float]]  # of each house's columns alone, with the target
    metric: str
    bytes_by_party: dict[str, int]
    num_messages: int
    bundles: tuple[Path, ...] = ()

    def to_dict(self) -> JsonObject:
        return {
            "vertical": True, "num_rows": self.num_rows,
            "metrics": {name: asdict(figure) for name, figure in self.metrics.items()},
            "central": {name: asdict(figure) for name, figure in self.central.items()},
            "alone": self.alone, "metric": self.metric, "bytes_by_party": self.bytes_by_party,
            "num_messages": self.num_messages, "bundles": [str(path) for path in self.bundles],
        }  # fmt: skip

    def summary(self) -> str:
        return render_text(self.summary_parts())

    def summary_parts(self) -> list[object]:
        """What the terminal shows: both houses beside all columns in one place, and each house alone."""
        plain = self.to_dict()
        facts: list[tuple[str, object]] = [("rows that both houses have", f"{self.num_rows:,}")]
        facts += [
            (f"{self.metric} of {name} alone", f"{values[self.metric]:.4g}") for name, values in self.alone.items()
        ]
        facts += [(f"bytes that left {name}", f"{number:,}") for name, number in self.bytes_by_party.items()]
        facts += [("half", str(path)) for path in self.bundles]
        return ["both houses, beside all columns in one place", figure_table(plain["metrics"], plain["central"]),
                fact_table(facts)]  # fmt: skip


def simulate_vertical(study: Study, table: Table, out: HalfTarget | None = None) -> VerticalSimulation:
    """Run the study; its halves go into the folders NAME of `out` by party. InputError for a table of another schema,
    ids that are missing or stand twice, or too few rows."""
    vertical_columns(study)
    houses = run_houses(study, table)
    joint = measure_joint(houses[0])
    central, other = _central(houses), _columns_alone(houses)
    names = [house.party(house.role).name for house in houses]
    alone = {name: {key: figure.value for key, figure in figures.items()}
             for name, figures in zip(names, (joint.alone, other), strict=True)}  # fmt: skip
    report = VerticalSimulation(
        len(houses[0].shared_rows), joint.metrics, central, alone,
        default_metric(study.task, houses[0].shared_target[houses[0].split.test]),
        houses[0].transcript.bytes_by_party(), 2 * len(houses[0].memory.records),
    )  # fmt: skip
    if out is None:
        return report
    plain = report.to_dict()
    comparison: JsonObject = {name: plain[name] for name in ("metrics", "central", "alone")}
    paths = []
    for house, name in zip(houses, names, strict=True):
        figures: JointFigures | None = joint if house.role == "labels" else None
        target_folder = replace(out, out=out.out / name)
        paths.append(pack_half(house, target_folder, figures, comparison=comparison).path)
    return replace(report, bundles=tuple(paths))


def run_houses(study: Study, table: Table) -> tuple[LabelHouse, ColumnHouse]:
    """Both at the end of the study."""
    label_rows, column_rows = (read_house(study, role, table) for role in ROLES)
    signers = [HouseSigner.for_simulation(study, role) for role in ROLES]
    nowhere = MemoryFile(None, study.digest)
    labels = LabelHouse(study, "labels", label_rows, signers[0], nowhere, intersects=False)
    columns = ColumnHouse(study, "columns", column_rows, signers[1], nowhere, intersects=False)
    while not columns.is_over:
        columns.accept(labels.reply(columns.step, columns.message()))
    return labels, columns


def _central(houses: tuple[LabelHouse, ColumnHouse]) -> dict[str, Figure]:
    """By as many steps of the same length as a house takes alone, with the columns of both."""
    labels, columns = houses
    inputs = np.concatenate([labels.learner.inputs, columns.learner.inputs], axis=1)
    return _learned_figures(labels, replace(labels.learner, inputs=inputs), list(houses))


def _columns_alone(houses: tuple[LabelHouse, ColumnHouse]) -> dict[str, Figure]:
    """Of the second house's columns, if it had the target."""
    labels, columns = houses
    return _learned_figures(labels, replace(labels.learner, inputs=columns.learner.inputs), [columns])


def _learned_figures(labels: House, learner: HouseLearner, houses: list[House]) -> dict[str, Figure]:
    held = np.concatenate(
        [house.scaling.apply(house.shared_rows.inputs[labels.split.held_rows]) for house in houses], axis=1
    )
    weights = learner.learn_alone(labels.study.settings.rounds.num_rounds)
    return measure_scores(labels, held @ weights + labels.target_mean)[1]
