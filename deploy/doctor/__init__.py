"""Is this machine, or this cluster, fit to train on? One row a question, with its remedy."""
