"""The state of an annotation session.

Actions enter; new states leave, with history, a log, and changes that other programs made.
"""
