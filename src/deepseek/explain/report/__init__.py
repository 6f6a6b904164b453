"""Explanations as a page, as JSON with a schema, and as a summary of many rows.

page.py has write_report; samples.py and texts.py explain bundles that read files and texts."""
