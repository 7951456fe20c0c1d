"""Objects out of overhead imagery of any size with the Segment Anything family."""
