"""What a gateway is told: one pydantic model per section of gateway.yaml, and how file, environment and options join.

limits, web (sections) -> gateway (the whole file) -> reading (file, environment, options). Rooms whose settings need
more than numbers, such as timelines, bring their own section.
"""
