"""Files on disk and in object storage.

It takes content and a location, writes files that appear under their names only when they are whole, and checks what was
written. All packages that write files use it.
"""
