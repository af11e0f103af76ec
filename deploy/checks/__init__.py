"""Whether manifests still are what they must be: schemas, security, ports that fit each other."""
