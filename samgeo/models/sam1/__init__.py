"""SAM 1 of any size: image encoder, prompt encoder, mask decoder and checkpoints.

The package takes checkpoint files in the published layouts, and returns a `Segmenter`.
"""
