"""Looking at rasters and results."""
