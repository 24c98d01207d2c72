"""Studies: arms x images x tasks x seeds, each run once, stopped and started at will.

A study file is read (:mod:`~hybrid_dip.study.settings`), made into runs (:mod:`~hybrid_dip.study.plan`), which workers do
(:mod:`~hybrid_dip.study.run`, :mod:`~hybrid_dip.study.work`) into a folder (:mod:`~hybrid_dip.study.store`), from which
the table and the report are made (:mod:`~hybrid_dip.study.results`, :mod:`~hybrid_dip.study.report`).
"""
