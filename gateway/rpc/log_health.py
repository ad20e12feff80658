"""The health of tracking follows the log: it turns while the disk is full or does not come back."""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor

from grpc_health.v1 import health_pb2
from grpc_health.v1._async import HealthServicer

from data.eventlog import EventLogError, LogWriter
from proto.tandem.v1 import tandem_pb2 as pb

logger = logging.getLogger(__name__)

TRACKING = pb.DESCRIPTOR.services_by_name["TrackingService"].full_name
_EVERY_SECONDS = 1.0


async def watch_log(writer: LogWriter, health: HealthServicer, limit: float) -> None:
    """Bring the log to the disk once a second, for ever: displays are there after so long, and a log that fails shows.

    Args:
        limit: seconds that this may take.
    """
    loop, thread, well = asyncio.get_running_loop(), ThreadPoolExecutor(1, thread_name_prefix="flush"), True
    while True:
        await asyncio.sleep(_EVERY_SECONDS)
        flush = loop.run_in_executor(thread, writer.flush)
        done, _ = await asyncio.wait([flush], timeout=limit)
        found = bool(done) and not isinstance(flush.exception(), EventLogError) and not writer.failed_lately
        if well != found:
            well = found
            status = health_pb2.HealthCheckResponse.SERVING if well else health_pb2.HealthCheckResponse.NOT_SERVING
            await health.set(TRACKING, status)
            logger.log(logging.INFO if well else logging.ERROR, "the event log %s", "is well" if well else "fails")
        await asyncio.wait([flush])
