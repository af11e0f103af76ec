"""Which trials are stopped early: halving, brackets, the median. Pure; no Ray."""
