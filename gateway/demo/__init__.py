"""The whole path in one command, on a simulated marketplace or on real logs.

simulated (the main job: train, serve, three populations, update, report) uses gatewayprocess (the server as a child
process), traffic (client processes that ask for banners and answer them) and twin (the same test without the gateway,
and its truth). real (import, train, serve, answer held-out users) stands beside it.
"""
