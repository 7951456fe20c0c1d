"""Selection of objects that are like a few examples.

Candidate objects, and accepted and rejected examples, enter. A score for each candidate leaves.
"""
