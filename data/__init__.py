"""Everything both stages share, in the order in which data flows.

errors -> schema -> readers and importers (files become typed tables) -> simulator (a marketplace made up) ->
workspace (where one experiment's files live) -> timelines (events grouped by user) -> items (the catalog as
arrays) -> request (one banner request as both stages see it) -> bundle (the immutable result of training).
"""
