"""Everything both stages share, in the order in which data flows.

errors -> schema -> readers (files become typed tables) -> importers (other people's logs become events and a catalog)
-> simulator (a marketplace made up) -> workspace, tables (where one experiment's files live, and how they get there)
-> engine, relations (relational steps, on DuckDB or Spark) -> timelines (events grouped by user) -> items (the catalog
as arrays) -> request (one banner request as both stages see it) -> bundle (the immutable result of training) ->
eventlog (what the gateway showed, and what came of it).
"""
