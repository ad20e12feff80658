"""Criteo's click logs (Kaggle, Terabyte) as columnar files.

In the order in which data flows: `blocks` cuts the text into blocks of whole lines; `parse` turns a block into numbers;
`counting` counts the ids of training rows, feature by feature; `vocabulary` keeps the frequent ones as rows of an
embedding table; `partition` says to which split a row goes; `work` holds what one task does, from parsing to writing
each row to its place. `convert` conducts the processes of `local` (`pool`) or the tasks of `spark` through these steps
and can go on where it was killed. `dataset` reads the result; `download` fetches the public files; `made_up` writes
files of the same layout that belong to nobody.
"""
