"""Lists of words and marks that stand beside numbers and in dates: units, currencies, months, "not known"."""
