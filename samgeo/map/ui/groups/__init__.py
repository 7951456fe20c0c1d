"""Groups of the panel that call the session themselves: outlines, classes, files, and the table of objects.

Each group is a class with its widgets. It follows the state of the session, also after undo and after changes from code.
"""
