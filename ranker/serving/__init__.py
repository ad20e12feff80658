"""What a trained DLRM becomes: a graph compiled ahead of time, tables in 8 bits, the online scorer."""
