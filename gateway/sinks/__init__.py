"""The log, sent on: the local log stays the source of truth, and whoever receives its copy may be away for a while.

kafka (displays and tracked events, each to a topic) -> cli (`tandem logs`: send, check).
"""
