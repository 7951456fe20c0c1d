"""Promptable models."""
