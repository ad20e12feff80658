"""The whole path in one command, on a simulated marketplace or on real logs.

simulated (the main job: train, serve, three populations, retrain, report) uses server (the gateway as a child process),
traffic (client processes that ask for banners and answer them), replay (the same test without the gateway, and its
truth), which agreement compares, and loop (what the retraining brought). real (import, train, serve, answer held-out
users) stands beside it; place is what both need.
"""
