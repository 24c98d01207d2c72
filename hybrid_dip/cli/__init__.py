"""Arguments -> objects, result folders; nothing else."""
