"""The options of an explanation of a bundle, each of them once, from the command line down.

    ExplainOptions(rows=(17,), html="why.html", trust=True)

A new option is a field here and an option of `deepseek explain` of the same name; nothing between the two lists them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepseek.data.samples.preparer import BrokenPolicy

if TYPE_CHECKING:
    from deepseek.explain.shapley.partition import Budget


@dataclass(frozen=True, slots=True)
class ExplainOptions:
    """The options of explain_bundle(); tables (`training`) are whatever read_table takes."""

    rows: Sequence[int] = ()  # to explain one by one, counted from 0; () for the first 5
    target: str | None = None  # class; None: the positive one of two, of many the one predicted most often
    html: str | Path | None = None  # where the page is written
    files: str | Path | None = None  # folder that paths in the data lie below; None: that of the data
    broken: BrokenPolicy = "fail"  # "mask" a file that cannot be read
    layers: bool = False  # also each perceptron in the model, layer by layer
    trust: bool | None = None  # measure faithfulness; None: where something is written and it takes at most 5 s
    training: Any = None  # the data that the model was made of, for nearest rows
    fixed: Sequence[str] = ()  # columns that no counterfactual changes
    json_file: str | Path | None = None  # where the document is written
    key: str | Path | None = None  # private key (PEM) that signs both files
    budget: Budget | None = None  # of answers for the parts of one text or picture
    interactions: bool = False  # also each row's strongest pairs of columns, of trees
    bundle_key: str | Path | None = None  # public key (PEM) that must have signed the bundle

    @property
    def outputs(self) -> tuple[Path, ...]:
        """The files to write."""
        return tuple(Path(path) for path in (self.html, self.json_file) if path is not None)

    @property
    def wants_faithfulness(self) -> bool | None:
        """`trust`; True where it is left open and `training` or `fixed` is given, which nothing else reads."""
        return True if self.trust is None and (self.training is not None or self.fixed) else self.trust

    def command_options(self) -> Mapping[str, Any]:
        """Option of the command line -> value, in the order in which the command of a page names them; without rows,
        keys and files to write."""
        masked = {"broken": self.broken} if self.broken != "fail" else {}
        return {
            "target": self.target, "layers": self.layers, "trust": self.wants_faithfulness,
            "fixed": list(self.fixed), "interactions": self.interactions,
            "budget": self.budget and str(self.budget.num_evaluations),
            **masked, "files": self.files, "training": self.training,
        }  # fmt: skip
