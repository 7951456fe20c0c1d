"""Functions that the readers of all annotation formats share.

Text, XML, CSV and JSON files from unknown sources enter. Checked rows leave, and an error for each fault with its place in the
file. All formats use the same repair of polygons.
"""
