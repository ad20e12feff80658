"""Stage one: propose items of one merchant for one user.

statistics (counts, co-occurrence) -> pmi -> rsvd -> led (training) -> index (per merchant) -> sources (led, gbo, cbo)
-> evaluation (recall of each source on held-out targets) -> new_items (into a bundle, between two trainings).

Online, beside the proposals: explanation (why an item) and similar (which items are like one).

protocols: public data sets and how they are divided. reference: models measured on them, the default LED among them
(spectral). paper: the LED paper's tables and figures.
"""
