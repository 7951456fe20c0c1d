"""The parts of a session by subject: proposals, searches, classes, options of the outline, prompts from files, and exports.

Each part is a class; `samgeo.map.session.Session` inherits from all of them.
"""
