"""Finished runs -> tables, statistics, attribution and the report."""
