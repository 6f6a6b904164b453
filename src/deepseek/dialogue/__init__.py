"""What a conversation remembers: what was understood of a question, slots, flows, hand-over to a person.

What comes in: questions of one person, one after the other, and a model that understands each (`understanding.py`).
What goes out: what is said next, or a hand-over with its reason.

The room stands above the engines: a model gives `Understanding`, and the server brings both together.
Begin with understanding.py.
"""
