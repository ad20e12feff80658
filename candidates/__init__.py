"""Stage one: propose items of one merchant for one user.

statistics (counts, co-occurrence) -> pmi -> rsvd -> led (training) -> index (per merchant) -> sources (led, gbo, cbo)
-> evaluation (recall of each source on held-out targets).
"""
