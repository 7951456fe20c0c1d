"""Accepted objects in files.

Objects of a session enter; the autosaved file and exports leave. The reverse restores a session from its file.
"""
