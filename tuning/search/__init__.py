"""What a sweep tries: the space of its knobs, and who proposes the next configuration."""
