"""An experiment: who is served from which sources, and what the logs prove about it.

populations (a file assigns users). statistics (sums become estimates) -> aggregates (logs become sums) -> health (may
the test be believed) -> build (one frozen Report, see model) -> formatting and tables (words, aligned numbers, the
terminal); gateway.pages draws the same report as HTML.
"""
