"""Searching over runs: space, search, schedule, trial, sweep, result. Ray Tune only here."""
