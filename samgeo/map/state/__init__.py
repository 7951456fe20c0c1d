"""The state of an annotation session.

Actions change the state. The package also keeps the history and the log, and merges changes of other programs.
"""
