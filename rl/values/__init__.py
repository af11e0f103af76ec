"""Value functions on small tasks whose true values are known."""
