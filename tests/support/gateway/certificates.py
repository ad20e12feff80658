"""An authority that signs certificates for tests, by the openssl command."""

import subprocess
from pathlib import Path


class Authority:
    """Its own certificate is `ca`; each `sign` gives (certificate, key)."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._folder, self.ca, self._key = folder, folder / "ca.pem", folder / "ca.key"
        self._run("req", "-x509", "-nodes", "-subj", "/CN=ca", "-keyout", self._key, "-out", self.ca, *_NEW)

    def sign(self, name: str) -> tuple[Path, Path]:
        """A certificate for localhost and 127.0.0.1."""
        certificate, key, asked, more = (self._folder / f"{name}.{end}" for end in ("pem", "key", "csr", "ext"))
        more.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        self._run("req", "-nodes", "-subj", f"/CN={name}", "-keyout", key, "-out", asked, *_NEW)
        signed = ("-CA", self.ca, "-CAkey", self._key, "-CAcreateserial", "-extfile", more, "-days", "2")
        self._run("x509", "-req", "-in", asked, "-out", certificate, *signed)
        return certificate, key

    def _run(self, *arguments: object) -> None:
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


_NEW = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
