"""What bench/soak.py is made of: a place with two bundles, a gateway, traffic, and trouble."""
