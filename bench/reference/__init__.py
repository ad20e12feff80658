"""The reference pages that are generated from the code: commands, settings files, tables.

    python -m bench.reference [--check]     make reference

`commands` walks the command line, `settings` the classes that a YAML file is checked against, `tables` the schemas of
data/schema.py. A test holds the pages equal to the code.
"""
