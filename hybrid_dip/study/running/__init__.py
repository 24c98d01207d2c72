"""Runs -> finished runs in a folder, done by any number of processes."""
