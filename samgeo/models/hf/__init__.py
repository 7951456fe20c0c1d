"""Models of the Hugging Face hub, and models that run through the library transformers.

The name or the folder of a repository enters, and a ``Segmenter`` leaves. Nothing here is imported before a model needs it.
"""
