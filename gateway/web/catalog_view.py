"""The workspace's catalog, for pages that show items by name."""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from data.tables import load_catalog
from data.workspace import Workspace


class CatalogView:
    """Rows of CATALOG_SCHEMA by merchant or item. Raises DataError if the workspace holds no catalog."""

    def __init__(self, workspace: Workspace) -> None:
        self._catalog = load_catalog(workspace)

    def merchants(self) -> list[str]:
        return sorted(pc.unique(self._catalog["merchant_id"]).to_pylist())

    def of_merchant(self, merchant_id: str, most: int) -> list[dict[str, Any]]:
        """The first items of a merchant."""
        return self._rows("merchant_id", [merchant_id]).slice(0, most).to_pylist()

    def items(self, item_ids: list[str]) -> dict[str, dict[str, Any]]:
        """The rows of the items that the catalog has, by id."""
        return {str(row["item_id"]): row for row in self._rows("item_id", item_ids).to_pylist()}

    def _rows(self, column: str, values: list[str]) -> pa.Table:
        return self._catalog.filter(pc.is_in(self._catalog[column], pa.array(values, pa.string())))
