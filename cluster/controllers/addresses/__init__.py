"""The addresses of Services as objects: an IPAddress for each, and the ranges they come from."""
