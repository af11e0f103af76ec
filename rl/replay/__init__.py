"""Memories of what happened: a ring of transitions, n-step returns, priorities."""
