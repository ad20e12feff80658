"""What would another policy have brought? Estimates from the log of one that explored, without a new test.

estimates (a mean by user) -> single (one choice a display: DM, IPW, SNIPW, DR, switch-DR, DR with shrinkage), slates
(several places: standard, independent and reward-interaction IPS, cascade-DR) and diagnostics (does the log bear it?)
-> evaluation (all of them, or "not estimable"). logged (the log's displays as arrays) and targets (what the other
policy would have done there) feed it; cli is `tandem evaluate-policy`.
"""
