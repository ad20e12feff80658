"""Start a run's processes, or join those that torchrun started on one or several hosts.

One process runs in this one. Several are started by torch's elastic agent, which ends them all when one fails. Each
process meets the others over gloo (CPU) or NCCL (GPU).
"""

import logging
import os
import signal
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as distributed

from data.console import set_up_logging
from data.errors import TandemError
from data.processes import end_with_parent, leave_interrupts_to_parent
from ranker.errors import RankerError

log = logging.getLogger(__name__)

_NOISE = (
    (FutureWarning, "`torch.distributed|Please use DTensor"),  # torchrec calls things by former names
    (UserWarning, ".*fbgemm::dense_embedding_codegen_lookup_function"),  # its gradients are right: a test holds them
)

TIMEOUT = timedelta(minutes=30)
"""How long a process waits for another before it gives up: an evaluation of one, a checkpoint of the other."""


@dataclass(frozen=True)
class ProcessContext:
    """One process among `world`: its number, and that on its host; `local_world` processes share the host."""

    rank: int
    world: int
    local_rank: int
    local_world: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is the process that speaks and writes for all."""
        return self.rank == 0


def under_torchrun() -> bool:
    """Whether a launcher started this process and its companions."""
    return "WORLD_SIZE" in os.environ and "RANK" in os.environ


def launch(processes: int, device: str, threads: int | None, work: Callable[..., Any], *arguments: Any) -> Any:
    """Run `work(process, *arguments)` in every process; returns what the first one returned.

    Args:
        processes: on this host; under torchrun its environment says how many instead.
        device: "cpu" or "cuda", which takes a GPU for each process of the host.
        threads: of torch per process; by default the host's cores are shared out evenly.
        work: a module's function, since other processes must find it by name.

    Raises:
        RankerError: a process failed, with its sentence; or there are too few GPUs.
    """
    joined = under_torchrun()
    if device == "cuda":
        _require_gpus(int(os.environ["LOCAL_WORLD_SIZE"]) if joined else processes)
    if joined:
        rank, world, local_rank, local_world = (
            int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
        )
        process = ProcessContext(rank, world, local_rank, local_world, _device(device, local_rank))
        with _group(process, threads, None):
            return work(process, *arguments)
    if processes == 1:
        process = ProcessContext(0, 1, 0, 1, _device(device, 0))
        with _group(process, threads, None):
            return work(process, *arguments)
    return _with_agent(processes, device, threads, work, arguments)


def _require_gpus(wanted: int) -> None:
    there = torch.cuda.device_count()
    if there < wanted:
        raise RankerError(
            f"device cuda: expected a GPU for each of {wanted} processes, torch finds {there}; "
            "use --device cpu, fewer processes, or a CUDA build of torch"
        )


def _device(kind: str, local_rank: int) -> torch.device:
    return torch.device("cuda", local_rank) if kind == "cuda" else torch.device("cpu")


@contextmanager
def _group(process: ProcessContext, threads: int | None, meeting: Path | None) -> Iterator[None]:
    """The process group, and torch's threads, for the time of the run.

    `meeting`: a file over which the processes of one host meet, so that nothing listens on a network; None under
    torchrun, whose environment tells, and for one process.
    """
    for kind, words in _NOISE:
        warnings.filterwarnings("ignore", words, kind)
    before = torch.get_num_threads()
    torch.set_num_threads(threads or max(1, (os.cpu_count() or 1) // process.local_world))
    backend = "cpu:gloo,cuda:nccl" if process.device.type == "cuda" else "gloo"
    if process.device.type == "cuda":
        torch.cuda.set_device(process.device)
    if meeting is not None or process.world == 1:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        store = distributed.HashStore() if meeting is None else distributed.FileStore(str(meeting), process.world)
        distributed.init_process_group(
            backend, store=store, rank=process.rank, world_size=process.world, timeout=TIMEOUT
        )
    else:
        distributed.init_process_group(backend, timeout=TIMEOUT)
    try:
        yield
    finally:
        distributed.destroy_process_group()
        torch.set_num_threads(before)


def _with_agent(
    processes: int, device: str, threads: int | None, work: Callable[..., Any], arguments: tuple[Any, ...]
) -> Any:
    """Under torch's elastic agent, which meets its workers over files: nothing listens outside the loopback."""
    from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="tandem-ranker-") as name, _environment(_AGENT):
        folder = Path(name)
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=processes,
            run_id=folder.name,
            rdzv_backend="c10d",
            rdzv_endpoint=str(folder / "agent"),
            rdzv_configs={"store_type": "file"},
            local_addr="127.0.0.1",
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(log_dir=str(folder)),
        )
        try:
            answers = elastic_launch(config, _worker)(name, device, threads, work, arguments)
        except ChildFailedError as error:
            raise RankerError(_why(folder, [one.exitcode for one in error.failures.values()])) from None
        except SignalException as error:
            if error.sigval == signal.SIGINT:
                raise KeyboardInterrupt from None
            raise SystemExit(128 + error.sigval) from None
        return answers[0]


_AGENT = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1", "OMP_NUM_THREADS": "1"}


def _worker(
    name: str,
    device: str,
    threads: int | None,
    work: Callable[..., Any],
    arguments: tuple[Any, ...],
) -> Any:
    """One process of the agent's. A failure is written down before the others notice that this one is gone."""
    leave_interrupts_to_parent()
    end_with_parent()
    folder = Path(name)
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    process = ProcessContext(rank, world, rank, world, _device(device, rank))
    set_up_logging()
    with _group(process, threads, folder / "meeting"):
        try:
            return work(process, *arguments)
        except TandemError as error:
            (folder / f"sentence-{rank}").write_text(str(error))
            os._exit(2)  # a process that others wait for cannot say goodbye to them
        except BaseException:
            (folder / f"traceback-{rank}").write_text(traceback.format_exc())
            time.sleep(1)  # perhaps another was killed, and this is what comes of it: let the agent see that first
            os._exit(1)


def _why(folder: Path, codes: list[int]) -> str:
    """The first sentence that a process left; else that one was killed, for the others fail in consequence."""
    for found in sorted(folder.glob("sentence-*")):
        return found.read_text()
    killed = [code for code in codes if code < 0 and code != -signal.SIGTERM]
    tracebacks = sorted(folder.glob("traceback-*"), key=lambda one: one.stat().st_mtime_ns)
    if killed or not tracebacks:
        return (
            f"a process ended with code {(killed or codes)[0]}, perhaps killed for want of memory; "
            "go on with --resume, with fewer processes if it dies again"
        )
    first = tracebacks[0].read_text()
    log.error("process %s failed:\n%s", tracebacks[0].name.rpartition("-")[2], first)
    return f"a process failed unexpectedly: {first.strip().splitlines()[-1]}"


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Set variables that are not set yet, for the agent and its workers; forget them afterwards."""
    added = {name: value for name, value in variables.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]
