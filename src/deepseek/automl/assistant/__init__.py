"""Questions to an assistant: heads on terms and encoders, two judges on held rows, thresholds that are proven.

What comes in: questions with their intents, or an FAQ (questions.py). What goes out: a bundle that engines/assistant
opens (pack.py). Begin with fit.py; options.py has the choices, measure.py the figures.
"""
