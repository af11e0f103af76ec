"""Configs: read, laid over one another, checked whole before anything runs."""
