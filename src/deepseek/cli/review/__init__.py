"""`deepseek review`: a document judged by a trained checklist, with a page of findings to sign."""

from __future__ import annotations

import shlex
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import BUNDLE, FILE, FOLDER, bundle_key_option
from deepseek.cli.support.progress import Progress

if TYPE_CHECKING:
    from deepseek.citations.review.dossier import ReviewDossier

EPILOG = """\b
Examples:
  deepseek review review contract.pdf
  deepseek review review contract.docx --html findings.html
  deepseek review review contract.docx --against contract-2025.docx --html findings.html
  deepseek review review contract.pdf --decisions-template decisions.csv
  deepseek review review contract.pdf --decisions decisions.csv --html signed.html --sign release-key
"""


@click.command(epilog=EPILOG, short_help="Review a document by a checklist.")
@click.argument("bundle", type=BUNDLE)
@click.argument("document", type=FILE)
@click.option("--against", type=FILE, help="An older version of DOCUMENT: what changed, and which verdicts with it.")
@click.option("--html", type=FILE, help="Write one offline page of findings there.")
@click.option("--json-file", type=FILE, help="Write what --json prints there.")
@click.option("--decisions", type=FILE, help="CSV of who decided what: line, decision, by, at, note, document.")
@click.option("--decisions-template", type=FILE, help="Write such a CSV there, with a row for each finding.")
@click.option(
    "--sign", "signing_key", type=FILE, help="Private key that signs both: FILE.sig beside each (see verify)."
)
@click.option("--embed", "encoder", type=FOLDER, help="Where the text model lies that BUNDLE was trained with.")
@click.option("--strict", is_flag=True, help="Exit with 3 when a finding is not decided.")
@bundle_key_option
@output.json_option
def command(
    bundle: Path, document: Path, against: Path | None, html: Path | None, json_file: Path | None,
    decisions: Path | None, decisions_template: Path | None, signing_key: Path | None, encoder: Path | None,
    strict: bool, key: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Judge DOCUMENT (.pdf, .docx, .html, .txt, .md) by the checklist in BUNDLE, which recipe compliance made.

    Each line holds, is broken or is not there, with the clause word for word, its place, and the probability that the
    verdict is right. A line that should be there and is missing is a finding. Lines that nobody trained are marked.
    """
    from deepseek.citations.review.decisions import write_template
    from deepseek.explain.report.document import check_output_paths, sign_outputs, write_document

    paths = [path for path in (html, json_file) if path is not None]
    check_output_paths([*paths, *([decisions_template] if decisions_template else [])], None)
    check_output_paths(paths, signing_key)
    words = ["deepseek", "review", str(bundle), str(document)]
    words += ["--against", str(against)] if against else []
    words += ["--decisions", str(decisions)] if decisions else []
    command_line = shlex.join(words + (["--html", html.name] if html else []))
    with closing(Progress()) as progress:
        dossier = _review(bundle, document, against, decisions, encoder, key, command_line, progress)
    if html is not None:
        from deepseek.citations.review.page import write_page

        write_page(html, dossier)
    if json_file is not None:
        write_document(json_file, dossier.to_dict())
    if decisions_template is not None:
        write_template(decisions_template, dossier.report)
    sign_outputs(paths, signing_key)
    output.warn(output.escape_text(note) for note in dossier.report.document.notes)
    output.note_written({"page": html, "same as JSON": json_file}, is_signed=signing_key is not None)
    output.note_written({"template of decisions": decisions_template}, is_signed=False)
    open_lines = [each.line.id for each in dossier.report.open_findings]
    open_lines = open_lines if dossier.decisions is None else list(dossier.decisions.open_lines)
    if strict and open_lines:
        from deepseek.errors import CheckError

        unmet = CheckError(
            f"{len(open_lines)} findings are not decided: {', '.join(open_lines[:5])}",
            expected="a decision on each finding", fix="decide on them with --decisions, or leave out --strict",
        )  # fmt: skip
        output.emit_unmet(dossier, unmet, as_json, lambda: _parts(dossier))
    output.emit(dossier, as_json, lambda: _parts(dossier))


def _review(
    bundle: Path, document: Path, against: Path | None, decisions: Path | None, encoder: Path | None, key: Path | None,
    command_line: str, progress: Progress,
) -> ReviewDossier:  # fmt: skip
    """Read, judge, compare."""
    import hashlib

    from deepseek.bundle import open_bundle
    from deepseek.citations.documents import read_document
    from deepseek.citations.review.decisions import read_decisions
    from deepseek.citations.review.dossier import ReviewDossier, ReviewProvenance
    from deepseek.citations.review.embedders import EncoderChoice
    from deepseek.citations.review.findings import ReviewReport, review_document
    from deepseek.citations.review.storage import open_model
    from deepseek.citations.review.versions import compare_versions
    from deepseek.cli.support.opening import warn_unchecked

    progress("opening the bundle", 0.0)
    opened = open_bundle(bundle, key=key)
    warn_unchecked(bundle, key)
    model = open_model(opened, None if encoder is None else EncoderChoice("folder", str(encoder)))

    def review_path(path: Path) -> ReviewReport:
        read = read_document(path)
        return review_document(model, read, sha256=hashlib.sha256(path.read_bytes()).hexdigest())

    progress("reading the document", 0.2)
    report = review_path(document)
    progress("comparing", 0.7)
    comparison = None if against is None else compare_versions(review_path(against), report)
    log = None if decisions is None else read_decisions(decisions, report)
    return ReviewDossier(report, ReviewProvenance.of(opened, model.name, command_line), comparison, log)


def _parts(dossier: ReviewDossier) -> list[object]:
    """What the terminal shows."""
    from deepseek.citations.review.findings import finding_rows

    table = output.make_table("verdict", "sure", "risk", "line", "where", value_justify="left")
    for row in finding_rows(dossier.report):
        table.add_row(*(output.escape_text(str(cell)) for cell in row))
    parts: list[object] = [output.escape_text(dossier.summary()), table]
    if dossier.comparison is not None:
        changes = dossier.comparison.changes
        parts.append(f"{len(changes)} clauses differ from {output.escape_text(dossier.comparison.old_name)}")
        parts += [
            f"{output.escape_text(line.name)}: {line.before} before, {line.after} now"
            for line in dossier.comparison.lines
        ]
    if dossier.decisions is not None:
        parts.append(f"{len(dossier.decisions.rows)} decisions, {len(dossier.decisions.open_lines)} findings are open")
    return parts
