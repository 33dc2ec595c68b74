"""Admission webhooks: others' HTTPS servers that may change or refuse a write."""
