"""What a threshold of the score keeps, the threshold with the best expected F1, and scores that are fitted to a place.

A result of `samgeo.find` enters, for the calibration together with some accepted and some rejected objects of it. A table of
thresholds leaves, or the result with new scores and a threshold for it.
"""
