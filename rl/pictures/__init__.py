"""What an agent shows of itself: figures drawn without pyplot, so any thread may draw."""
