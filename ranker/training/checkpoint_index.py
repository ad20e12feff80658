"""DCP's file storage with an index in JSON instead of a pickle: which chunk of which tensor lies where."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.checkpoint.metadata import (
    BytesStorageMetadata,
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    StorageMeta,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.storage import WriteResult

from ranker.errors import RankerError

INDEX = "index.json"
_DTYPES = {str(one): one for one in (torch.float32, torch.float64, torch.int64)}


class JsonIndexWriter(FileSystemWriter):
    """Writes tensors only. Every process writes one file of its own chunks."""

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder), single_file_per_rank=True, sync_files=True)
        self._index = folder / INDEX

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        """Called on the first process when all have written."""
        where = {
            (written.index.fqn, tuple(written.index.offset or ())): asdict(written.storage_data)
            for part in results
            for written in part
        }
        tensors: dict[str, Any] = {}
        for name, one in metadata.state_dict_metadata.items():
            assert isinstance(one, TensorStorageMetadata), f"{name} is no tensor"
            chunks = []
            for chunk in one.chunks:
                place = where.get((name, tuple(chunk.offsets))) or where[(name, ())]
                chunks.append(
                    {
                        "offsets": [*chunk.offsets],
                        "sizes": [*chunk.sizes],
                        "file": place["relative_path"],
                        "start": place["offset"],
                        "length": place["length"],
                    }
                )
            tensors[name] = {"dtype": str(one.properties.dtype), "size": [*one.size], "chunks": chunks}
        self._index.write_text(json.dumps(tensors) + "\n")


class JsonIndexReader(FileSystemReader):
    """Reads what JsonIndexWriter wrote, into any sharding."""

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder))
        self._index = folder / INDEX

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """Raises RankerError where the index is not one."""
        tensors: dict[str, TensorStorageMetadata | BytesStorageMetadata] = {}
        storage = {}
        try:
            for name, one in json.loads(self._index.read_text()).items():
                chunks = [
                    ChunkStorageMetadata(torch.Size(chunk["offsets"]), torch.Size(chunk["sizes"]))
                    for chunk in one["chunks"]
                ]
                properties = TensorProperties(dtype=_DTYPES[one["dtype"]])
                tensors[name] = TensorStorageMetadata(properties, torch.Size(one["size"]), chunks)
                for chunk in one["chunks"]:
                    if Path(chunk["file"]).name != chunk["file"]:
                        raise ValueError(f"a file outside the checkpoint, {chunk['file']}")
                    index = MetadataIndex(name, chunk["offsets"])
                    storage[index] = _StorageInfo(chunk["file"], chunk["start"], chunk["length"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RankerError(f"{self._index}: expected a checkpoint's index, found {error}") from error
        return Metadata(tensors, storage_data=storage, storage_meta=StorageMeta(load_id=self.load_id))
