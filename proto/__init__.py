"""The wire format: tandem/v1/*.proto and the Python generated from them by `make proto`."""
