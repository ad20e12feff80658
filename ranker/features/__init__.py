"""What a ranker reads: the specification of its features, vocabularies of ids, labelled rows."""
