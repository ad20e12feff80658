"""Inputs for a ranker that nobody's data are needed for (DLRM paper, arXiv 1906.00091, sections 4.1 and 4.2).

`random_data` draws dense features and bags of lookups. The others go from a real trace of lookups to a made-up one that
meets caches alike: `distances` finds each access's stack distance; `profile` keeps their distribution (Algorithm 1);
`recency` is the stack that `synthetic` draws a new trace with (Algorithm 2); `comparison` holds the two traces side by
side (Figure 3, hit rates). `storage` writes what was generated; `sources` reads traces from wherever they lie.
"""
