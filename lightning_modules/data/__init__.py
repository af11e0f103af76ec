"""Data sets as LightningDataModules: one set, or one family of sets, a file."""
