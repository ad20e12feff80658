"""From events to item vectors: counts and co-occurrence, PMI, randomised SVD, spectral vectors."""
