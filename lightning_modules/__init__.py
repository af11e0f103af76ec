"""What is learned: networks, training rules and data modules. Knows torch and Lightning only."""
