"""A client process that sends events until told to stop, and prints the number of every acknowledged batch.

`python -m tests.support.gateway.track_client ADDRESS NAME`: batch k holds the events NAME-k-0, NAME-k-1, NAME-k-2. A
batch that is not acknowledged is sent again, as it is.
"""

import sys
import time

from gateway.client import GatewayClient
from gateway.errors import GatewayError
from proto.tandem.v1 import tandem_pb2 as pb


def main(address: str, name: str) -> None:
    with GatewayClient(address, timeout=2) as client:
        for batch in range(1_000_000):
            events = [
                pb.TrackedEvent(
                    event_id=f"{name}-{batch}-{k}",
                    user_id="u",
                    kind=pb.CLICK,
                    item_id="books-001",
                    merchant_id="books",
                    display_id="d",
                )
                for k in range(3)
            ]
            while True:
                try:
                    if client.track(events) == len(events):
                        break
                except GatewayError:
                    time.sleep(0.02)
            print(batch, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
