"""Secure sums: masks that cancel in the sum, so that who adds reads the sum alone, also when parties drop out"""
