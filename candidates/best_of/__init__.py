"""The baselines: the global best-of (GBO), the clustering best-of (CBO), and items that no model knows."""
