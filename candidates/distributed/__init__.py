"""Stage one on Spark, for what one machine does not hold.

`stages` keeps every finished step on disk as Parquet, so that a long job goes on where it was killed; `streams` brings
rows that belong together to one task, in order; `layout` says where a row of a matrix lies; `blocks` cuts a sparse
matrix into tiles; `products` multiplies them with dense tiles; `tsqr` makes tall matrices orthonormal by a tree; `rsvd`
conducts them. All data between Spark and Python travels as Arrow.
"""
