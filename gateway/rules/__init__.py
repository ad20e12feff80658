"""Rules of a population on its banners, beyond what sources propose and the ranker thinks. Off unless declared.

settings (what a populations file may say) -> leaving_out (before the sources propose: items held out, items shown too
often) -> categories, diversity, exploration -> choosing (which candidate stands in which place, with which
probability). gateway/banner applies them.
"""
