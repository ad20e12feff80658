"""A workspace whose shop is served, offline: a bundle with a ranker in service, and a log of what it showed."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from data.bundle import Bundle, BundleDraft, publish
from data.eventlog import LogWriter
from data.request import Request
from data.workspace import Origin, Workspace
from proto.tandem.v1.log_pb2 import DisplayRecord, LoggedSlot
from proto.tandem.v1.tandem_pb2 import CLICK, LANDING, TrackedEvent
from ranker.banner.scorer import BannerScorer
from ranker.banner.training import RankerConfig, train_ranker
from ranker.training.settings import BANNER
from tests.support.shop import DAY, MERCHANTS, START, Shop, category_of, make_examples

MINUTE = 60_000_000
SLOTS = 4


def make_workspace(root: Path, shop: Shop, ranker: Path | None = None) -> Workspace:
    """A bundle in service with this ranker, by default one that learnt a little from few examples; no log yet."""
    workspace = Workspace(root)
    workspace.write_origin(Origin("made up", simulated=True, fingerprint="0", events=1, items=1))
    pq.write_table(shop.events, workspace.events)
    with BundleDraft(workspace) as draft:
        shop.items.save(draft.folder("catalog"))
        (draft.folder("candidates") / "note.txt").write_text("stage one")
        folder = draft.folder("ranker")
        if ranker is not None:
            shutil.copytree(ranker, folder, dirs_exist_ok=True)
        else:
            config = RankerConfig(training=BANNER.changed(epochs=1), baselines=False)
            train_ranker(folder, shop.items, shop.timelines, make_examples(shop, 200), config=config)
        bundle = draft.seal()
    publish(workspace, bundle)
    return workspace


def show(
    workspace: Workspace,
    shop: Shop,
    displays: int,
    first: int = 0,
    poisoned: tuple[float, float] = (0, 0),
    prefix: str = "",
) -> None:
    """Log displays one minute apart, beginning with number `first`, and what the shop's users do with them.

    Users land on their own category's items with probability .35, on others with .04; between the two shares of
    `poisoned` it is the other way round, and more so. `prefix` makes users nobody has met before.
    """
    random = np.random.default_rng(100 + first)
    scorer = BannerScorer.load(Bundle.open(workspace.current), shop.items)
    writer = LogWriter(workspace.log)
    for number in range(first, first + displays):
        user, merchant = int(random.integers(0, len(shop.timelines.users))), int(random.integers(0, MERCHANTS))
        taste = shop.taste[int(shop.timelines.users[user][1:])]
        own = shop.items.slice_of(merchant)
        positions = random.choice(np.arange(own.start, own.stop), SLOTS, replace=False).astype(np.int32)
        ts = START + 31 * DAY + number * MINUTE
        history = shop.timelines.history(user, before=ts)
        request = Request(prefix + shop.timelines.users[user], merchant, "FR", ts, history, "p", "phone")
        features = scorer.features(request, positions)
        writer.append_display(_record(shop, number, request, features, scorer.score(features)))
        bad = poisoned[0] <= (number - first) / displays < poisoned[1]
        for position in positions.tolist():
            matches = category_of(int(shop.items.items.id(position)[1:])) == taste
            chance = (0.0 if matches else 0.6) if bad else (0.35 if matches else 0.04)
            if random.random() < chance:
                writer.append_tracked(_answer(shop, number, request, position))
    writer.close()


def _record(shop: Shop, number: int, request: Request, features: object, scores: np.ndarray) -> DisplayRecord:
    items = shop.items
    return DisplayRecord(
        display_id=f"d{number}",
        ts_us=request.ts,
        user_id=request.user_id,
        merchant_id=items.merchants.id(request.merchant),
        country=request.country,
        publisher=request.publisher,
        device=request.device,
        recent_items=[items.items.id(int(one)) for one in features.recent_items],  # type: ignore[attr-defined]
        recent_categories=[items.categories.id(int(one)) for one in features.recent_categories],  # type: ignore[attr-defined]
        dense_names=features.dense_names,  # type: ignore[attr-defined]
        slots=[
            LoggedSlot(
                position=place,
                item_id=items.items.id(int(position)),
                category=items.categories.id(int(items.category[position])),
                sources=["gbo"],
                score=float(score),
                dense=dense.tolist(),
            )
            for place, (position, score, dense) in enumerate(
                zip(features.positions, scores, features.dense, strict=True)  # type: ignore[attr-defined]
            )
        ],
    )


def _answer(shop: Shop, number: int, request: Request, position: int) -> list[TrackedEvent]:
    shared = {
        "user_id": request.user_id,
        "item_id": shop.items.items.id(position),
        "merchant_id": shop.items.merchants.id(request.merchant),
        "country": "FR",
        "display_id": f"d{number}",
    }
    return [
        TrackedEvent(event_id=f"{kind}-{number}-{position}", ts_us=request.ts + 1_000_000, kind=kind, **shared)
        for kind in (CLICK, LANDING)
    ]


def versions(workspace: Workspace) -> list[str]:
    """Every bundle on disk, without drafts; each is verified."""
    found = (path for path in workspace.bundles.iterdir() if path.is_dir() and not path.name.startswith("."))
    return sorted(Bundle.open(path).version for path in found if not path.is_symlink())
