"""One file from an address, once: kept in a cache, continued where it broke off, checked, whole or absent.

::

    name.part        what has arrived; a later try asks for the rest (HTTP Range)
    name.part.etag   which version of the file that is, if the server says
    name             the whole file, after its digest was compared
    name.sha256      its digest, recorded at first sight; compared at each use
"""

import fcntl
import hashlib
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import unquote
from urllib.request import Request, urlopen

import cellflow
from cellflow.core.errors import BadInput

log = logging.getLogger("cellflow")

Answer = HTTPResponse | HTTPError

SECONDS = 30.0
"""Without a byte for so long, a connection counts as broken."""
PIECE = 1 << 20


def cache_folder() -> Path:
    """Where downloaded models lie: `cellflow/models` in $XDG_CACHE_HOME, or in ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "cellflow" / "models"


def place(url: str) -> Path:
    """Where the file of an address lies in the cache; files of one folder there share one here."""
    above, _, last = url.rpartition("/")
    folder = hashlib.sha256(above.encode()).hexdigest()[:16]
    name = re.sub(r"[^A-Za-z0-9._-]", "_", unquote(last))[-100:].lstrip(".")
    return cache_folder() / folder / (name or "model")


def fetch(url: str, sha256: str | None = None) -> Path:
    """The file of an address on this machine; downloaded if it is not there yet.

    Its digest is compared with `sha256`, else with the one recorded when it was first seen: that finds
    damage and another file, not a file that was wrong from the start. Two processes may ask at once.
    Raises `BadInput`, one line, where the network, the server or the digest do not play along.
    """
    target = place(url)
    target.parent.mkdir(parents=True, exist_ok=True)
    with _alone(target):
        if not target.exists():
            _download(url, target, sha256)
        _compare(target, sha256)
    return target


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _compare(target: Path, sha256: str | None) -> None:
    record, found = _beside(target, ".sha256"), digest(target)
    recorded = record.read_text().strip() if record.exists() else found
    if found != recorded:
        raise BadInput(
            f"{target}: found sha256 {found}, expected {recorded} as when it came; it was damaged since: "
            "delete it and run the same again"
        )
    if sha256 is not None and found != sha256:
        raise BadInput(
            f"{target}: found sha256 {found}, expected {sha256}; correct sha256 or the address, or delete it"
        )
    if not record.exists():
        _write(record, found + "\n")
        if sha256 is None:
            log.info("%s: no digest is published; recorded sha256 %s", target.name, found)


def _download(url: str, target: Path, sha256: str | None) -> None:
    part, tag = _beside(target, ".part"), _beside(target, ".part.etag")
    if part.exists() and not tag.exists() and sha256 is None:
        part.unlink()  # nothing would tell if the rest came from another version
    _receive(url, part, tag)
    found = digest(part)
    tag.unlink(missing_ok=True)
    if sha256 is not None and found != sha256:
        part.unlink()
        raise BadInput(
            f"{url}: found sha256 {found}, expected {sha256}; try again, and if it stays so, "
            "another file lies there than was meant"
        )
    part.replace(target)


def _receive(url: str, part: Path, tag: Path) -> None:
    """Fill `part` up to the length that the server names."""
    have = part.stat().st_size if part.exists() else 0
    with _answer(url, have, tag.read_text() if have and tag.exists() else "") as answer:
        if answer.status == 416 and answer.headers.get("Content-Range") == f"bytes */{have}":
            return  # a kill came between the last byte and the new name
        if answer.status != 416:
            _append(answer, url, part, tag)
            return
    part.unlink()  # longer than the file: of another version
    _receive(url, part, tag)


def _append(answer: Answer, url: str, part: Path, tag: Path) -> None:
    """Write what arrives behind what is there, or in its place if the server sends the whole file."""
    have = part.stat().st_size if answer.status == 206 else 0
    if answer.status == 206 and not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
        part.unlink()
        raise BadInput(f"{url}: the server sent another part than it was asked for; run the same again")
    if not have:
        part.unlink(missing_ok=True)  # before the tag changes: the old beginning is not of this version
    if etag := answer.headers.get("ETag"):
        _write(tag, etag)
    length = answer.headers.get("Content-Length", "")
    total = have + int(length) if length.isdecimal() else None
    size = "of unknown size" if total is None else f"{total / 1e6:.1f} MB"
    log.info("downloading %s, %s, to %s", url, size, part.parent)
    with part.open("ab" if have else "wb") as file:
        for piece in _pieces(answer, url):
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
        arrived = file.tell()
    if total not in (None, arrived):
        raise BadInput(f"{url}: broke off after {arrived} of {total} bytes; run the same again, it goes on")


def _answer(url: str, have: int, etag: str) -> Answer:
    """What the server says to a request for the bytes from `have` on; of its errors only "no rest" (416)."""
    headers = {"User-Agent": f"cellflow/{cellflow.__version__}", "Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", **({"If-Range": etag} if etag else {})}
    try:
        answer: Answer = urlopen(Request(url, headers=headers), timeout=SECONDS)  # noqa: S310 - see URL
    except HTTPError as error:
        if error.code == 416 and have:
            return error
        raise BadInput(f"{url}: the server answers {error.code} {error.reason}; check the address") from error
    except (HTTPException, OSError, ValueError) as error:
        raise BadInput(
            f"{url}: cannot be reached ({_reason(error)}); check the network, or put the file at {place(url)}"
        ) from error
    return answer


def _pieces(answer: Answer, url: str) -> Iterator[bytes]:
    try:
        while piece := answer.read(PIECE):
            yield piece
    except (HTTPException, OSError) as error:
        raise BadInput(f"{url}: broke off ({_reason(error)}); run the same again, it goes on") from error


def _reason(error: Exception) -> str:
    inner = error.reason if isinstance(error, URLError) else error
    text = inner.strerror if isinstance(inner, OSError) and inner.strerror else str(inner)
    return " ".join((text or type(inner).__name__).split())


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Others that want the same file wait; the system lets the lock go if its holder dies."""
    with _beside(target, ".lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _beside(target: Path, suffix: str) -> Path:
    return target.with_name(target.name + suffix)


def _write(path: Path, text: str) -> None:
    aside = _beside(path, ".new")
    aside.write_text(text)
    aside.replace(path)
