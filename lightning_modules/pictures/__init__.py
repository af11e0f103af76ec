"""What a module shows of itself: figures drawn without pyplot, so any thread may draw."""
