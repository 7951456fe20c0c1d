"""Readers of formats that are read and never written, a module each."""
