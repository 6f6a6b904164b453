"""Raw tables to typed columns to features: read, find kinds, split, check for leaks, prepare, describe.

    table = read_table("loans.csv")
    kinds = find_kinds(table, target="default")
    split = split_table(table, target="default", task="binary", seed=0)
    preprocessor = fit_preprocessor(table.take(split.train), kinds, target="default")
    batch = preprocessor.table(table.take(split.test))

Serving needs Preprocessor.rows alone, which imports numpy and nothing heavier.
"""

from deepseek.data.features.kinds import KINDS, Kind, find_kinds
from deepseek.data.features.prepare import Column, Feature, Preprocessor, fit_preprocessor
from deepseek.data.features.target import TargetInfo, drop_missing_target, encode_target, infer_task
from deepseek.data.split.findings import Finding
from deepseek.data.split.leaks import check_leaks
from deepseek.data.split.split import Split, make_folds, split_table
from deepseek.data.table.read import read_table
from deepseek.data.table.table import Table, concat
from deepseek.data.view.card import make_card

__all__ = [
    "KINDS",
    "Column",
    "Feature",
    "Finding",
    "Kind",
    "Preprocessor",
    "Split",
    "Table",
    "TargetInfo",
    "check_leaks",
    "concat",
    "drop_missing_target",
    "encode_target",
    "find_kinds",
    "fit_preprocessor",
    "infer_task",
    "make_card",
    "make_folds",
    "read_table",
    "split_table",
]
