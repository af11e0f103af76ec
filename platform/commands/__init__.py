"""The verbs over single runs, as the command line calls them."""
