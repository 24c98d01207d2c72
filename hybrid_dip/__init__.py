"""hybrid_dip."""
