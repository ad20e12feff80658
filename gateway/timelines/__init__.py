"""What users did and what they were shown, remembered for requests that carry no history, and for rules.

settings -> store (what a store is) -> embedded (SQLite, on this machine) or in_redis -> filling (from the log, and from
imports) -> recall (the stage that reads it for a request) -> cli (`tandem timelines`).
"""
