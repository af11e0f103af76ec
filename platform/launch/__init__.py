"""Starting a run: in this process, in Lightning's own processes, or in many workers on Ray."""
