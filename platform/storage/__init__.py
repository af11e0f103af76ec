"""Object stores: where checkpoints and the state of runs go that no disk holds for all nodes."""
