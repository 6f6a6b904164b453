"""Tables: exact additive attributions per raw column, their check, reasons in words and rows beside them.

explainer.py is the way in: explainer_for(model, owners, score=...).explain(features)."""
