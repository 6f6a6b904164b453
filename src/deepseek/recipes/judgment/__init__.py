"""Drafts of judgments and opinions from facts and a template: every sentence that states law carries its clause.

facts.py reads what is known, template.py fills it in, checking.py checks every sentence, run.py is the whole way,
word.py
writes DOCX, page.py shows what was checked.
"""
