"""`deepseek federate init`: the study file that every party reads and signs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import FILE, FOLDER, parse_assignment

if TYPE_CHECKING:
    from deepseek.privacy.study.definition import Study, StudyFolder

EPILOG = """\b
Examples:
  deepseek federate init cards --sample sample.csv --target fraud --drop CUSTOMER_ID
  deepseek federate init cards --sample sample.csv --target fraud --model config.toml --min-parties 3 \\
      --coordinator hub.pub --party bank-a=a.pub --party bank-b=b.pub --party bank-c=c.pub
  deepseek federate init cards --sample sample.csv --target fraud --set rounds.num_rounds=50 --json
  deepseek federate init cards --sample sample.csv --target fraud --set model.kind=module --module net.py:build
  deepseek federate init loans --vertical person_id --sample bank.csv --target default --other-sample shop.csv \\
      --party bank=bank.pub --party shop=shop.pub

\b
A config has the sections model, rounds, protection and budget:
  [model]
  kind = "perceptron"
  widths = [32]
  [rounds]
  num_rounds = 20
  strategy = "scaffold"
  [protection]
  secure_sums = true
"""


@click.command(epilog=EPILOG, short_help="Make a study: schema, model, rounds, protection, parties.")
@click.argument("study", type=FOLDER)
@click.option("--sample", type=FILE, required=True, help="Rows whose ranges and levels all parties may see.")
@click.option("--target", required=True, metavar="COL", help="What is predicted.")
@click.option("--drop", multiple=True, metavar="COL", help="A column that is not learned from. May be repeated.")
@click.option("--model", "config", type=FILE, help="TOML file with model, rounds, protection and budget.")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Over the file. May be repeated.")
@click.option("--min-parties", type=click.IntRange(2, 1000), help="Updates that each round needs.")
@click.option("--party", "parties", multiple=True, type=parse_assignment, metavar="NAME=FILE.pub",
              help="A party and its public key (see keygen). May be repeated.")  # fmt: skip
@click.option("--coordinator", type=FILE, metavar="FILE.pub", help="Public key of who serves the study.")
@click.option("--module", metavar="FILE.py:NAME",
              help='Of model.kind = "module": its digest goes into the study, its code does not.')  # fmt: skip
@click.option("--vertical", metavar="COL", help="Two houses with other columns of the same people: the id of both.")
@click.option("--other-sample", type=FILE, help="With --vertical: rows of the house without the target.")
@click.option("--same-ids", is_flag=True, help="With --vertical: both have the same ids, and intersect nothing.")
@output.json_option
def command(
    study: Path, sample: Path, target: str, drop: tuple[str, ...], config: Path | None, assignments: tuple[str, ...],
    min_parties: int | None, parties: tuple[tuple[str, str], ...], coordinator: Path | None, module: str | None,
    vertical: str | None, other_sample: Path | None, same_ids: bool, as_json: bool,
) -> None:  # fmt: skip
    """Write STUDY/study.json: the schema by SAMPLE, the model, the rounds, the protection and the parties. Medians,
    ranges and levels of SAMPLE stand in it, and none of its rows; every party signs these very bytes.

    With --vertical two houses have other columns of the same people: the first party has the target, and SAMPLE is of
    its table; --other-sample is of the other's. The column COL says who is who in both."""
    from deepseek.data import read_table
    from deepseek.privacy.parties.module_source import read_source
    from deepseek.privacy.study.definition import Party, write_study
    from deepseek.privacy.study.request import StudyRequest, VerticalRequest, make_study, public_key_text
    from deepseek.privacy.study.settings import read_settings

    fewest = () if min_parties is None else (f"rounds.min_parties={min_parties}",)
    settings = read_settings(config, (*assignments, *fewest))
    members = tuple(Party(name, public_key_text(Path(path))) for name, path in parties)
    leader = None if coordinator is None else Party("coordinator", public_key_text(coordinator))
    source = None if module is None else read_source(module)
    if (vertical is None) != (other_sample is None):
        raise click.UsageError("--vertical and --other-sample go together")
    if same_ids and vertical is None:
        raise click.UsageError("--same-ids goes with --vertical")
    columns = None
    if vertical is not None and other_sample is not None:
        alignment: Literal["same_ids", "intersection"] = "same_ids" if same_ids else "intersection"
        columns = VerticalRequest(vertical, read_table(other_sample), alignment)
    request = StudyRequest(study.resolve().name, target, drop, members, leader, source, columns)
    folder = write_study(study, make_study(read_table(sample), request, settings))
    output.emit(describe_study(folder.study, folder), as_json, lambda: study_parts(folder.study))


def describe_study(study: Study, folder: StudyFolder) -> dict[str, object]:
    """The object of --json."""
    return {
        "study": str(folder.path), "sha256": study.digest, "task": study.task, "target": study.target,
        "inputs": [column.name for column in study.preprocessor.columns],
        "left_out": list(study.preprocessor.notes), "parties": [party.name for party in study.parties],
        "unsigned": list(folder.unsigned_parties()),
    }  # fmt: skip


def study_parts(study: Study) -> list[object]:
    """What the terminal shows."""
    settings = study.settings
    protection = "sums alone" if settings.protection.secure_sums else "the update of each party"
    if study.vertical is not None:
        return _vertical_parts(study)
    facts: list[tuple[str, object]] = [
        ("predicts", f"{study.target} ({study.task})"),
        ("reads", ", ".join(column.name for column in study.preprocessor.columns)),
        ("model", " ".join([settings.model.kind, *map(str, settings.model.widths)])),
        *([("code", f"{study.module.name}, sha256 {study.module.sha256}")] if study.module is not None else []),
        ("rounds", f"{settings.rounds.num_rounds} of {settings.rounds.strategy}, {settings.rounds.rule}"),
        ("the coordinator sees", protection),
        ("parties", ", ".join(party.name for party in study.parties) or "none: it can be simulated, not served"),
        ("sha256", study.digest),
    ]
    return [*(f"note: {note}" for note in study.preprocessor.notes), output.fact_table(facts)]


def _vertical_parts(study: Study) -> list[object]:
    """Of a study of two houses with other columns: what each of them has, and what it sees of the other."""
    from deepseek.privacy.study.vertical import ROLES, WHAT_IS_SEEN, half_study, vertical_columns

    columns = vertical_columns(study)
    names = dict(zip(ROLES, [party.name for party in study.parties] or ROLES, strict=True))
    reads = {role: ", ".join(column.name for column in half_study(study, role).preprocessor.columns) for role in ROLES}
    joined = {"intersection": "by private set intersection", "same_ids": "both have the same"}[columns.alignment]
    facts: list[tuple[str, object]] = [
        ("predicts", f"{study.target} ({study.task}), which {names['labels']} has"),
        ("joined by", f"{columns.id_column}, {joined}"),
        *((f"{names[role]} reads", reads[role]) for role in ROLES),
        *((f"{names[role]} sees", WHAT_IS_SEEN[role]) for role in ROLES),
        ("rounds", study.settings.rounds.num_rounds),
        ("sha256", study.digest),
    ]
    return [*(f"note: {note}" for note in study.preprocessor.notes), output.fact_table(facts)]
