"""One YAML a recipe; its head comment says command, source, data, expected result and time."""
