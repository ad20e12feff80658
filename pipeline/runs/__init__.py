"""`tandem pipeline`: a run from new files to a bundle in service, whose steps are kept, gated and shown.

settings (pipeline.yaml) -> run (a day's or an hour's steps) -> gates (before a bundle is published) -> record (what was
done, in runs/ of the workspace) -> page.
"""
