"""A project of labels: one SQLite file of items, labels, people and an audit of every change. Begin with project.py."""
