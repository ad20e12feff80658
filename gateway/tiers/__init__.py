"""Stage one and the ranker as services of their own: the same banners, from several machines.

contexts (a request as another gateway is asked it) -> asking (the stages that ask, awaited) -> tiers (which are asked).
A tier is a gateway that serves one stage alone (`gateway.rpc.registration`), from a bundle that should be the same.
"""
