"""Criteo's public files: where their owner offers them, and on what terms."""

from data.public_sets import PublicSet

PUBLIC_SETS = {
    "kaggle": PublicSet(
        title="Criteo Display Advertising Challenge (Kaggle, 2014): 45.8 million rows of 7 days, 4.6 GB packed",
        urls=("https://go.criteo.net/criteo-research-kaggle-display-advertising-challenge-dataset.tar.gz",),
        terms_url="https://ailab.criteo.com/ressources/",
        terms="Criteo Labs Data Terms of Use. In short: for non-commercial use only; you may publish analyses, with a "
        "reference to Criteo, as long as the data cannot be rebuilt from them; you may neither pass the data on nor "
        "reverse engineer them; whoever breaks the terms must destroy all copies and what was derived from them.",
    ),
    "terabyte": PublicSet(
        title="Criteo 1TB Click Logs: 4.4 billion rows of 24 days, about 350 GB packed",
        urls=tuple(f"https://storage.googleapis.com/criteo-cail-datasets/day_{day}.gz" for day in range(24)),
        terms_url="https://huggingface.co/datasets/criteo/CriteoClickLogs",
        terms="Creative Commons BY-NC-SA 4.0. In short: name Criteo as the source; non-commercial use only; what you "
        "derive and share carries the same licence.",
    ),
}
