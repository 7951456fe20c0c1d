"""Atomic writes, integrity checks, run folders, provenance, and locations of files on disk and in object storage.

The package takes content and a location. It writes files that appear under their names only when they are complete, checks
what was written, and locks and compares the folders of runs. All packages that write files use it.
"""
