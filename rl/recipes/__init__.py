"""Recipes of what learns by acting."""
