"""The study file: model, rounds, protection and parties, signed by every party before a row is read"""
