"""Commands that run as jobs on a Ray cluster: sent, followed, cancelled."""
