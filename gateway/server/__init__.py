"""Processes: one supervisor, several workers.

start (what can be checked quickly, then the libraries) -> supervisor (keeps workers running) with rollout (changes
bundles under traffic) and compaction (of the log) -> worker (loads a bundle, listens on the shared port) after warm_up;
processes is what they need of the operating system.
"""
