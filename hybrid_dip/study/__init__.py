"""Studies: arms x images x tasks x seeds, each run once, stopped and started at will.

``describe`` reads a study file and says which runs it asks for. ``running`` does them, into a folder. ``reporting`` makes
tables, statistics and the report of what is in the folder. ``ready_made`` has the studies that commands write.
"""
