"""A study file -> the runs that it asks for."""
