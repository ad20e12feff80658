"""Tandem's tests: folders mirror the parts and their rooms; what they share lies in tests/support."""
