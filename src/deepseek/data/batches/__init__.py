"""A file of a table read a part at a time, in memory that does not grow with its rows.

    with open_table(Path("rows.csv")) as file:
        for part in file.parts(10_000):        # Tables of so many rows, in their order
            ...

The file is passed over twice: once to check it and to find the types that its columns have as a whole (a column may
look like numbers for a million rows and then hold a word), and once to read it as these types. Every part equals the
same rows of read_table(); what that refuses is refused before the first part, in the same words.
"""

from deepseek.data.batches.table_file import TableFile, open_table

__all__ = ["TableFile", "open_table"]
