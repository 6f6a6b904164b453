"""What verify and inspect say of a bundle: typed fields that read like the JSON of the verbs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from deepseek.results import Result

if TYPE_CHECKING:
    from deepseek.bundle.leaderboard import Leaderboard
    from deepseek.bundle.manifest import Manifest
    from deepseek.bundle.promises import Promises
    from deepseek.contracts import JsonObject

#: "good" only when a key was given; "not checked" fits its own key, which proves no maker.
Signature = Literal["none", "not checked", "good"]
#: Measured figures by the name of the metric: value, low and high of each.
Figures = dict[str, dict[str, float]]


@dataclass(frozen=True, slots=True, eq=False)
class VerificationReport(Result):
    """Whether every byte is as its maker wrote it."""

    problems: tuple[str, ...] = ()  # in words, each naming its file; the other fields are empty where there are any
    digest: str = ""  # of the model; of a single file its sha256
    signature: Signature = "none"
    num_files: int = 0
    notes: tuple[str, ...] = ()  # what is no problem and worth knowing, in words

    @property
    def is_ok(self) -> bool:
        return not self.problems

    def to_dict(self) -> JsonObject:
        """The object that `verify --json` prints."""
        document: JsonObject = {"ok": self.is_ok, "problems": list(self.problems)}
        if self.is_ok:
            document |= {"digest": self.digest, "signature": self.signature, "num_files": self.num_files}
        if self.notes:
            document["notes"] = list(self.notes)
        return document

    def summary(self) -> str:
        """The verdict in one line, or a line for each problem."""
        return "\n".join(self.problems) or f"{self.num_files} files as they were written; signature: {self.signature}"


@dataclass(frozen=True, slots=True, eq=False)
class BundleReport(Result):
    """What a bundle holds: its manifest, its measured figures, its size and who signed it."""

    path: str
    manifest: Manifest
    metrics: Figures  # of the model; empty where the evidence has none
    baseline: Figures  # of the yardstick
    size_bytes: int
    signature: Signature
    promises: Promises
    leaderboard: Leaderboard | None = None  # of the search, where it was asked for

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the bundle does not keep, the worst first."""
        return tuple(text.en for text in self.promises.warnings())

    def to_dict(self) -> JsonObject:
        """The object that `inspect --json` prints."""
        point = self.promises.operating_point
        return {
            "bundle": self.path,
            **self.manifest.to_dict(),
            "metrics": self.metrics,
            "baseline": self.baseline,
            "size_bytes": self.size_bytes,
            "signature": self.signature,
            "operating_point": point and point.to_dict(),
            "warnings": list(self.warnings),
            **({} if self.leaderboard is None else {"leaderboard": self.leaderboard.to_dict()}),
        }

    def summary(self) -> str:
        """What the bundle does not keep, then what the model is, a line each."""
        manifest = self.manifest
        sizes = f"{len(manifest.inputs)} inputs, {self.size_bytes} bytes"
        what = f"{manifest.name} {manifest.version}: {manifest.task}, {manifest.target}; {sizes}"
        return "\n".join([*(f"warning: {warning}" for warning in self.warnings), what])

    def _repr_html_(self) -> str:
        """What the bundle is and how well it does, for a notebook."""
        from deepseek.look.notebook.card import card, lines
        from deepseek.look.notebook.figures import figure_table

        return card(
            f"{self.manifest.name} {self.manifest.version}", self.summary().splitlines()[-1],
            lines(*self.promises.warnings(), cls="warn"), figure_table(self.metrics, self.baseline),
        )  # fmt: skip
