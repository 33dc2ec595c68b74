"""CustomResourceDefinitions: kinds that clients add while the server runs."""
