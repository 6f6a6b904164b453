"""What `deepseek label` does, with its answers.

new_project(Path("claims.csv"), Path("claims"), ProjectOptions("binary", ("no", "yes")))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from deepseek.automl.label.project.project import Project, ProjectOptions
from deepseek.automl.label.project.records import Counts, Definition
from deepseek.automl.label.project.sources import read_source
from deepseek.contracts import JsonObject
from deepseek.results import Result


@dataclass(frozen=True, slots=True, eq=False)
class NewProjectResult(Result):
    """A project that was made."""

    project: Path
    definition: Definition
    counts: Counts

    def to_dict(self) -> JsonObject:
        definition = self.definition
        return {
            "project": str(self.project), "task": definition.task, "labels": list(definition.labels),
            "target": definition.target, "kinds": dict(definition.kinds), "seed": definition.seed,
            "counts": asdict(self.counts),
        }  # fmt: skip

    def summary(self) -> str:
        counts = self.counts
        copies = f", {counts.num_copies:,} copies of others aside" if counts.num_copies else ""
        have = f" {counts.num_labeled:,} have a label already." if counts.num_labeled else ""
        return (
            f"{counts.num_items:,} items to label{copies}; {counts.num_test:,} of them, drawn at random, are to be "
            f"tested on.{have} Go on with: deepseek label serve {self.project}"
        )


def new_project(
    data: Path, out: Path, options: ProjectOptions, *, has_target: bool = False, drop: Sequence[str] = (),
    files: Path | None = None, kinds: Mapping[str, str] | None = None,
) -> NewProjectResult:  # fmt: skip
    """Make a project in the folder `out`. `has_target`: DATA has labels of some rows in the column options.target."""
    source = read_source(
        data, target=options.target if has_target else None, drop=drop, files=files, overrides=kinds, task=options.task
    )
    with Project.create(out, source, options, name=data.name) as project:
        return NewProjectResult(out, project.definition, project.counts())
