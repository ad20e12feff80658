"""Stage two: predict the click (or sale) of every pooled candidate.

specification (which features) -> features (their values for a request) -> examples (labelled rows) -> models (DLRM,
logistic regression) -> training -> metrics -> export (AOTInductor) -> scorer (one batch per request).

networks: DLRM's rivals. distributed: training over several processes, tables sharded. tabular: rankers compared on the
rows of a click log. profiling: where a training step's time goes.
"""
