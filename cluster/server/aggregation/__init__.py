"""Aggregated APIs: group versions that a server behind a Service answers for, and the APIService objects."""
