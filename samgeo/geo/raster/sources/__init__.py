"""Where the pixels of a raster come from: files, addresses, arrays, mosaics and STAC Items.

Each source gives the values of windows, their validity and the grid. `opening` chooses the source for what a user names.
"""
