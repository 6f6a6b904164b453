"""The page where people label: server.py answers, render.py makes the page, *.js runs in it."""
