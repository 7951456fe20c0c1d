"""Where windows are computed: threads, processes, or a Dask cluster.

A function and tasks enter; results leave in the order of the tasks.
"""
