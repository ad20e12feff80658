"""Stage two: predict the click (or sale) of every pooled candidate.

In the order in which data flows: `features` (which features there are, vocabularies, labelled rows) -> `networks`
(DLRM, DCN) -> `training` (one process or many, tables sharded) -> `evaluation` (metrics, calibration) -> `serving` (a
graph compiled ahead of time) -> `banner` (the banner's features, its part of a bundle, the online scorer) -> `updates`
(continuous training).

`comparison`: DLRM beside its `baselines` on the rows of a click log. `profiling`: where a training step's time goes.
"""
