"""The settings of a process, improved trial by trial: verbs.py does it, page.py shows it, server.py serves it."""
