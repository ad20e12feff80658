"""The networks that can be trained, by name: DLRM and its rivals, all of them of one form (`registry`)."""
