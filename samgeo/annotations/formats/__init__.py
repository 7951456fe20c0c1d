"""Readers and writers of annotation formats, one module for each format.

A reader takes the files of a data set and adds their images, classes and annotations to a `Gathered`, from which the table of
annotations is made. A writer takes the table, or its rows of one image, and returns the content of a file. To add a reader,
register it in `samgeo.annotations.reading`, and say in `samgeo.annotations.format_detection` how its files are recognised.
"""
