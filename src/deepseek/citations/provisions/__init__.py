"""What a rule lays down: obligations, prohibitions, permissions, penalties, deadlines and thresholds of a text.

    for provision in read_provisions(article):
        provision.kind, article[provision.subject.start : provision.subject.end], provision.decided_by

Signal words decide where they can (chinese.py, english.py); a small model (model.py) where they do not, and each
provision says which. segments.py cuts a text into the parts that each lay down one thing.
"""
