"""Files fetched over HTTP, resumable and checked by a digest."""

import base64
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage
from pathlib import Path

from data.errors import DataError
from data.files import file_digest, write_text_atomically

_PIECE = 1 << 20
_TIMEOUT_S = 60


def download(
    url: str,
    folder: Path,
    sha256: str | None = None,
    advance: Callable[[int], None] = lambda by: None,
    expect: Callable[[int | None], None] = lambda total: None,
) -> Path:
    """Fetch a file into `folder`, going on with a part fetched before if the server still offers the same file.

    The file is checked against `sha256` or, without one, against the MD5 in the server's `x-goog-hash` or `Content-MD5`
    header. Its SHA-256 is written beside it (`<name>.sha256`), and is checked if the file is there already.
    `expect` and `advance` are told how many bytes there are, and how many more have come.

    Raises:
        DataError: the server cannot be reached or refuses, the connection breaks (repeat to go on), or a digest
        differs.
    """
    if not url.startswith(("http://", "https://")):
        raise DataError(f"{url}: expected an http or https address")
    folder.mkdir(parents=True, exist_ok=True)
    final = folder / url.rsplit("/", 1)[-1]
    if final.exists():
        _check_again(final, sha256)
        return final
    part = _Part(final.with_name(f"{final.name}.part"), final.with_name(f"{final.name}.part.etag"))
    try:
        headers, total = _fetch(url, part, advance, expect)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing is left to fetch, or another file is there now: begin anew next time
            part.remove()
        what = f"the server answered {error.code} {error.reason}; see the owner's page for a new address"
        raise DataError(f"{url}: {what}") from None
    except (urllib.error.URLError, HTTPException, OSError) as error:
        what = f"the connection failed ({error}); repeat the command to go on where it stopped"
        raise DataError(f"{url}: {what}") from None
    if total is not None and part.path.stat().st_size != total:
        raise DataError(f"{url}: {part.path.stat().st_size} of {total} bytes came; repeat the command to go on")
    found = file_digest(part.path, "sha256")
    md5 = _md5_of(headers)
    if (sha256 and found != sha256.lower()) or (not sha256 and md5 and file_digest(part.path, "md5") != md5):
        part.remove()
        raise DataError(f"{url}: the file that came differs from its checksum; it was removed, repeat the command")
    write_text_atomically(final.with_name(f"{final.name}.sha256"), f"{found}  {final.name}\n")
    part.path.replace(final)
    part.remove()
    return final


@dataclass(frozen=True)
class _Part:
    """What came of a file so far, and the server's name for the file's exact bytes."""

    path: Path
    tag: Path

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self.tag.unlink(missing_ok=True)


def _fetch(
    url: str, part: _Part, advance: Callable[[int], None], expect: Callable[[int | None], None]
) -> tuple[HTTPMessage, int | None]:
    """Append to the part what it lacks, or write it anew. Answers the headers, and the bytes of the whole if known."""
    have = part.path.stat().st_size if part.path.exists() and part.tag.exists() else 0
    request = urllib.request.Request(url, headers={"Accept-Encoding": "identity"})
    if have:
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", part.tag.read_text())
    with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
        headers: HTTPMessage = answer.headers
        goes_on = answer.status == 206 and headers.get("Content-Range", "").startswith(f"bytes {have}-")
        have = have if goes_on else 0
        total = have + int(headers["Content-Length"]) if headers.get("Content-Length") else None
        tag = headers.get("ETag") or headers.get("Last-Modified")
        if tag and not tag.startswith("W/"):  # a weak tag cannot vouch for single bytes
            write_text_atomically(part.tag, tag)
        else:
            part.tag.unlink(missing_ok=True)
        expect(total)
        advance(have)
        with part.path.open("ab" if have else "wb") as file:
            while piece := answer.read(_PIECE):
                file.write(piece)
                advance(len(piece))
    return headers, total


def _check_again(final: Path, sha256: str | None) -> None:
    noted = final.with_name(f"{final.name}.sha256")
    expected = (sha256 or (noted.read_text().split()[0] if noted.exists() else "")).lower()
    if expected and file_digest(final, "sha256") != expected:
        raise DataError(f"{final} differs from its SHA-256 {expected[:12]}…; remove it and repeat the command")


def _md5_of(headers: HTTPMessage) -> str | None:
    """The MD5 the server states, in hexadecimal."""
    stated = [field.strip() for value in headers.get_all("x-goog-hash", []) for field in value.split(",")]
    encoded = next((field[4:] for field in stated if field.startswith("md5=")), headers.get("Content-MD5"))
    return base64.b64decode(encoded).hex() if encoded else None
