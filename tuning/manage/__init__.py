"""The verbs that look at sweeps and tidy them: status, stop, logs, why, compare, clean."""
