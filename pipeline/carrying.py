"""The ranker of the bundle in service into another bundle: its vocabularies are keyed by id, so any catalog will do."""

from candidates.cold_start.catalog_diff import CatalogDiff
from candidates.new_items.sample import events_about
from data.bundle import Bundle, BundleDraft
from data.files import sha256_of
from data.items import ItemTable
from data.timelines import Timelines
from data.workspace import Workspace
from ranker.banner.carrying import carry_ranker


def keep_ranker(workspace: Workspace, old: Bundle, draft: BundleDraft) -> None:
    """Take the old bundle's ranker into the draft, whose catalog is there already.

    Items that both catalogs have keep their counts; new ones are counted from the workspace's events. Where the
    catalogs are the same, byte for byte, the files are shared.

    Raises:
        DataError: a file of the old bundle is not as it was sealed.
    """
    old.verify()
    before = {name: digest for name, digest in old.files.items() if name.startswith("catalog/")}
    if before == {f"catalog/{file.name}": sha256_of(file) for file in draft.folder("catalog").iterdir()}:
        draft.take(old, ["ranker"])
        return
    was, now = ItemTable.load(old.catalog), ItemTable.load(draft.folder("catalog"))
    known = set(was.items.ids())
    events = events_about(workspace, [one for one in now.items.ids() if one not in known])
    _carry(old, draft, was, now, Timelines.of(events, now))


def keep_ranker_of(bundle: Bundle, draft: BundleDraft, diff: CatalogDiff, timelines: Timelines) -> None:
    """The same where the catalogs' difference is known (`candidates.new_items.refresh.Carry`)."""
    _carry(bundle, draft, diff.before, diff.after, timelines)


def _carry(old: Bundle, draft: BundleDraft, before: ItemTable, after: ItemTable, timelines: Timelines) -> None:
    carry_ranker(old.ranker, draft.folder("ranker"), before, after, timelines)
    if "ranker" in old.metrics:
        draft.metrics["ranker"] = old.metrics["ranker"]
