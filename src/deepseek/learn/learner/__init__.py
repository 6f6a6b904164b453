"""The learner: who it is on this machine, folders of labs that were begun, progress."""
