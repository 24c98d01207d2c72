"""report.html: one page with all of a study in it, which opens without a network."""
