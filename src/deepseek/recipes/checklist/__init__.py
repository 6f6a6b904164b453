"""A regulation becomes its checklist: run.py makes it, wording.py words its lines, versions.py compares, page.py
shows."""
