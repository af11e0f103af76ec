"""The deck's "zooming in": what networks and training are built from, a topic a file."""
