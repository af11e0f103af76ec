"""What MLflow finds of ours by entry points: tags of runs in our jobs, and projects as jobs."""
