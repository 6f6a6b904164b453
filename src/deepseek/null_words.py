"""Text that stands for "no value", in files, frames and requests alike; a client needs it without numpy."""

NULL_WORDS = frozenset({"", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NULL", "null"})
