"""Processes: one supervisor, several workers.

start (what can be checked quickly, then the libraries) -> supervisor (keeps workers running, changes bundles under
traffic) -> worker (loads a bundle, warms up, listens on the shared port); processes is what they need of the operating
system.
"""
