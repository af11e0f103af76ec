"""Training itself: objects made of a config, Lightning's trainer, optimizers, checkpoints."""
