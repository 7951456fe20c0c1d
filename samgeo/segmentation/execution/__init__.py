"""Execution of tasks in threads, in processes or on a Dask cluster.

A function and tasks enter; results leave in the order of the tasks.
"""
