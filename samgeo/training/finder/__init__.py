"""Training of finders, which find the objects of some classes with the features of a model that is not changed.

The inputs are a model and pictures with complete labels. The outputs are a head that proposes objects and a scorer of their
masks.
"""
