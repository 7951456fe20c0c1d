"""SAM 1 of any size: image encoder, prompt encoder, mask decoder and checkpoints.

Checkpoint files of the published layouts enter; a `Segmenter` leaves.
"""
