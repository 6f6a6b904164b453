"""The learning path: labs that run on the learner's machine, grade what was made and end in a signed certificate.

What comes in: folders of labs (labs/, and those of an organization), and the work of a learner. What goes out: grades,
progress in one file, certificates, a page. Begin with definition/lab.py (what a lab is), then grading/kit.py (what its
checks may do) and path.py (the verbs).
"""
