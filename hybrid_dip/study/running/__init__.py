"""Runs -> finished runs in a folder, by any number of processes."""
