"""What the ranker's tests share: a made-up shop, and one ranker trained on it."""

import os

import pytest

from tests.support.shop import Shop, make_examples, make_shop


@pytest.fixture(scope="session")
def shop() -> Shop:
    return make_shop()


@pytest.fixture(scope="session")
def compiled_once(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    """Compiled packages go to a folder of this test run, unless the caller has a cache."""
    if "XDG_CACHE_HOME" in os.environ:
        yield
        return
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    yield
    del os.environ["XDG_CACHE_HOME"]


@pytest.fixture(scope="session")
def trained(shop: Shop, compiled_once: None, tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    """(folder, metrics) of a ranker trained on the shop's examples."""
    from ranker.banner.training import train_ranker

    folder = tmp_path_factory.mktemp("ranker")
    return folder, train_ranker(folder, shop.items, shop.timelines, make_examples(shop), seed=3)
