"""The recipes that there are, in the order in which `deepseek recipe --list` shows them.

A recipe is three things of one name: a row here, its choices in recipes/NAME.py, and its command in cli/recipe/NAME.py.

>>> "imagenet" in RECIPES
True
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Recipe:
    """One industry solution, as the list of recipes shows it."""

    what: str  # what it does, in one line
    takes: str  # its data
    makes: str  # what is there afterwards
    guide: str  # its page in docs/guides


RECIPES: dict[str, Recipe] = {
    "fraud": Recipe(
        what="Raw card transactions become a model that knows the past of each card and terminal.",
        takes="a table of transactions: time, card, terminal, amount, verdict",
        makes="a bundle that takes raw transactions",
        guide="fraud.md",
    ),
    "maintenance": Recipe(
        what="Sensors of machines become the life that each has left, with an interval that covers.",
        takes="a table of sensor rows: machine, time, sensors",
        makes="a bundle that takes raw sensor rows",
        guide="maintenance.md",
    ),
    "ct_record": Recipe(
        what="CT slice and patient record: leaks, a diagnosis from the slice, reports that find their slices.",
        takes="a folder with index.csv and its images",
        makes="figures and a page",
        guide="media.md",
    ),
    "imagenet": Recipe(
        what="A folder of pictures with one folder for each class becomes a net with its figures.",
        takes="a folder with train/CLASS and val/CLASS",
        makes="weights, checkpoints and figures",
        guide="training.md",
    ),
    "rings": Recipe(
        what="Groups of cards that are used together at a few terminals, with the reasons for each.",
        takes="a table of payments: time, card, terminal, amount",
        makes="rings, the recall at each difficulty, and a page",
        guide="rings.md",
    ),
    "process": Recipe(
        what="The settings of a process, improved trial by trial; in the safe mode few trials break a limit.",
        takes="a study file: parameters, objectives, constraints, a recipe that holds",
        makes="recipes to try, a log of their results, and a page",
        guide="process.md",
    ),
    "defects": Recipe(
        what="Pictures of parts, with boxes or of good parts alone, become a model that finds defects.",
        takes="a folder of pictures, and boxes as CSV, COCO or YOLO",
        makes="a bundle that answers pictures with boxes, a bound on missed parts, and a page",
        guide="defects.md",
    ),
    "assistant": Recipe(
        what="Questions of customers become intents and answers; unsure, it asks back or hands over to a person.",
        takes="an FAQ, questions with intents, or a folder of documents",
        makes="a bundle that understands questions, with a proven share of right answers",
        guide="assistant.md",
    ),
    "checklist": Recipe(
        what="A law or a circular becomes a checklist: each duty with its clause, its question and its evidence.",
        takes="a regulation as text, DOCX or PDF, in English or Chinese",
        makes="a checklist as TOML, and a page on which its lines are accepted, edited or struck",
        guide="regulation.md",
    ),
    "judgment": Recipe(
        what="Facts and a template become a draft in which every sentence of law is a clause in force that day.",
        takes="facts as JSON, a folder of laws, a template",
        makes="a draft as DOCX with its clauses, and what needs a look",
        guide="judgment.md",
    ),
    "compliance": Recipe(
        what="A checklist and reviewed documents become a review of others: holds, breaks, not there.",
        takes="a checklist in TOML, and a folder of documents with labels.csv",
        makes="a bundle for `deepseek review`: findings with their clauses, a page to sign",
        guide="compliance.md",
    ),
}
