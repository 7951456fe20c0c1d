"""A few objects that the memory of SAM 2 follows over several dates.

Objects that points, boxes or outlines show on one date enter, with dated rasters. Each is followed in a window around it,
through the later and then the earlier dates. Its outline at each date leaves, or the statement that it is absent.
"""
