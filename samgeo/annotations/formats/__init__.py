"""Readers and writers of annotation formats, a module for each format.

Each reader takes files and gives rows for the table of annotations; writers do the reverse.
"""
