"""A model answered over HTTP: in this process, or by replicas that Ray Serve places."""
