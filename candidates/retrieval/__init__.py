"""Questions to a bundle: what it proposes, why, and what is like an item."""
