"""Selection of the objects that are like a few examples.

Candidates, accepted and rejected examples enter; a score for each candidate leaves.
"""
