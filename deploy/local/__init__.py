"""A cluster for real on one machine: Ray's nodes, MLflow, a database, an object store."""
