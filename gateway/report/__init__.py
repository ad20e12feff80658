"""What the logs prove: source share, uplift with intervals, and whether the test is healthy.

statistics (sums become estimates) -> aggregates (logs become sums) -> build (one frozen Report) -> tables (terminal),
plots and page (one HTML file).
"""
