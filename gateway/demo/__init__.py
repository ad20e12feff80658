"""The whole path in one command, on a simulated marketplace or on real logs.

simulated (the main job: train, serve, three populations, update, report) uses server (the gateway as a child process),
traffic (client processes that ask for banners and answer them) and replay (the same test without the gateway, and its
truth), which agreement compares. real (import, train, serve, answer held-out users) stands beside it; place is what
both need.
"""
