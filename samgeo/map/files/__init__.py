"""Accepted objects in files.

Objects of a session enter; the autosaved file and exports leave, and the reverse.
"""
