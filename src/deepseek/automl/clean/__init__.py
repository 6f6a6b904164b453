"""What is wrong with a table, as a patch that a person reviews: labels, near duplicates, leaks, empty rows, files.

table -> out_of_fold.py (chances from models that have not seen the row) -> label_errors.py
      -> near_duplicates.py (texts and cells by their hashes), outliers.py (cells and rows far from all others)
      -> findings.py -> patch.py (a CSV to review, then applied)
"""
