"""What to label next, how good the labels make a model, and when to stop.

items -> features.py (ship's own preparation, texts by their topics, pictures and sounds by plain descriptors)
labels of several people -> agreement.py -> one label with its confidence
both -> learner.py (a linear model) -> strategy.py (what to ask next), forecast.py (what more labels would bring)
"""
