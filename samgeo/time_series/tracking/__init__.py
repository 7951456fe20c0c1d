"""Objects that are followed over several dates.

Rasters with dates enter, with outlines of objects or without. The objects of successive dates are matched by their outlines and
by the model's features, and a track keeps its id over dates at which the object is missing. A table with one row for each
object and date leaves.
"""
