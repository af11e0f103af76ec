"""Population based training: who copies whom, what changes, and the checkpoint of a copy."""
