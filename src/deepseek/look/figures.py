"""What figures are of, in words: metrics by their names, and groups of rows by theirs.

>>> METRICS["auc"][0].en, group_title("-inf to 34").en, sorted(["61 to inf", "-inf to 34", "34 to 61"], key=group_order)
('AUC', 'below 34', ['-inf to 34', '34 to 61', '61 to inf'])
"""

from __future__ import annotations

import math

from deepseek.look.words import Text, Words

#: Name in words, and whether higher is better.
METRICS: dict[str, tuple[Text, bool]] = {
    "auc": (Text("AUC", "AUC"), True),
    "average_precision": (Text("Average precision", "平均精确率"), True),
    "accuracy": (Text("Accuracy", "准确率"), True),
    "macro_f1": (Text("Macro F1", "宏平均 F1"), True),
    "log_loss": (Text("Log loss", "对数损失"), False),
    "brier": (Text("Brier score", "Brier 分数"), False),
    "rmse": (Text("RMSE", "均方根误差"), False),
    "mae": (Text("Mean absolute error", "平均绝对误差"), False),
    "r2": (Text("R²", "R²"), True),
    # what the decision by threshold or costs does
    "decision_accuracy": (Text("Decided right", "判定正确率"), True),
    "recall": (Text("Recall, as decided", "召回率（按判定）"), True),
    "false_positive_rate": (Text("False-positive rate, as decided", "假阳性率（按判定）"), False),
    "precision": (Text("Precision, as decided", "精确率（按判定）"), True),
}
#: What a difference between two models on the same rows means.
VERDICTS: dict[str, Text] = {
    "better": Text("better", "更好"),
    "worse": Text("worse", "更差"),
    "noise": Text("no more than noise", "不超出噪声"),
    "identical": Text("the same", "相同"),
    "unknown": Text("too few rows to say", "行数不足，无法判断"),
}


def metric_title(name: str) -> Text:
    """A metric in words."""
    return METRICS[name][0] if name in METRICS else Text(name, name)


def group_order(group: str) -> tuple[float, float]:
    """What to sort groups by: ranges from the lowest to the highest; other groups after these, as they stand."""
    return _range_bounds(group) or (math.inf, math.inf)


def group_title(group: str) -> Words:
    """The name of a group; a range without an end is said in words."""
    low, high = _range_bounds(group) or (0.0, 0.0)
    first, _, last = group.partition(" to ")
    if math.isinf(low):
        return Text(f"below {last}", f"低于 {last}")
    if math.isinf(high):
        return Text(f"{first} and above", f"{first} 及以上")
    return Text(group, f"{first} 至 {last}") if last and _range_bounds(group) else group


def _range_bounds(group: str) -> tuple[float, float] | None:
    """The bounds of a group that is a range of numbers, as "34 to 47" or "-inf to 34"; None for other groups."""
    low, _, high = group.partition(" to ")
    try:
        return float(low), float(high)
    except ValueError:
        return None
