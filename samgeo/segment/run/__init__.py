"""Runs: what is done of a long segmentation, on disk, so that it can be stopped in any way and continued."""
