"""The banner's ranker: its features and rows, training from timelines and from the log, its part of a bundle."""
