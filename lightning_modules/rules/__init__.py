"""Training rules, and what judges and samples what they train."""
