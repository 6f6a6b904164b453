"""The course of a study: which task comes next, what the parties' answers are combined to, and what that changes"""
