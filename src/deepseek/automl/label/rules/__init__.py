"""Labels by rules: keywords, regular expressions and bounds (definition.py), functions of the user's (code.py), models.

Rules vote or abstain; label_model.py joins their votes to a chance of each class; apply.py keeps what is certain enough
as labels with a weight, apart from those of people.
"""
