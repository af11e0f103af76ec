"""What a cluster is described by, one target a file; each is a function of the values."""
