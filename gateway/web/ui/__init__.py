"""Pages for people of the house: how a banner comes about, the experiment, the models, live traffic, a plan.

guard (who may look) -> pages (routes, what every page has) -> banner, experiment, models, live, plan (a page each).
asking says where banners come from: a running gateway, or a bundle read here (`tandem ui`).
"""
