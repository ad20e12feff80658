"""Going back to the bundle before, while a gateway serves: after a change, and in the middle of one."""

import json
from pathlib import Path

from pipeline.bundles import back, bundle_states, use
from tests.support.gateway.gateway_process import C_USER, GatewayProcess, context
from tests.support.gateway.stand_ins import make_bundle


def test_a_gateway_follows_back_after_a_change_and_in_the_middle_of_one(tmp_path: Path) -> None:
    with GatewayProcess(tmp_path / "w", workers=2, connection_seconds=1) as running, running.client() as client:

        def answers_from(version: str) -> bool:
            return client.get_banner(context(C_USER), slots=3, preview=True).bundle_version == version

        old = running.files.current.resolve().name
        workers = running.answering()
        running.fault(json.dumps({"load": "sleep 60"}))
        coming = make_bundle(running.files, "coming").version
        running.wait_for(f"bundle {coming} appeared")
        back(running.files, "too soon")
        running.wait_for(f"bundle {coming} was taken back before all of its workers were ready")
        assert answers_from(old) and running.answering() == workers
        running.fault("{}")
        new = make_bundle(running.files, "new").version
        running.until(lambda: answers_from(new))
        back(running.files, "fewer clicks")
        running.until(lambda: answers_from(old))
        use(running.files, coming)
        running.until(lambda: answers_from(coming))
        states = {one.version: (one.state, one.reason) for one in bundle_states(running.files)}
        assert states == {old: ("previous", ""), coming: ("current", ""), new: ("refused", "fewer clicks")}
