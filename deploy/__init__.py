"""Where runs happen: manifests of clusters and servers, rendered from one set of values."""
