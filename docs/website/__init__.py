"""The parts of docs/make_site.py: pages, links, navigation, the reference from code, plots, public names."""
