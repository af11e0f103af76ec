"""What training rules share about a step, an epoch and a resume."""
