"""Models of the Hugging Face hub, and models that run through the library transformers.

The name or the folder of a repository enters, and a ``Segmenter`` leaves, or SAM 2 with its memory of earlier images. Nothing
here is imported before a model needs it.
"""
