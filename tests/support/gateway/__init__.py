"""A stand-in gateway for tests: its parts, the process it runs in, clients that load it."""
