"""A study with all its parties in one process: what may be expected of it, before anybody signs"""
