"""Atomic writes, integrity checks, and locations of files on disk and in object storage.

The package takes content and a location. It writes files that appear under their names only when they are complete, and
checks what was written. All packages that write files use it.
"""
