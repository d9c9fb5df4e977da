"""A file comes once, whole and checked, or there is one line; all of it over loopback."""

import errno
import hashlib
import threading

import pytest
from small_networks import serving

from cellflow.core.errors import BadInput
from cellflow.networks.sources.download import cache_folder, fetch, place

CONTENT = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return tmp_path / "cache" / "cellflow" / "models"


@pytest.fixture
def server():
    with serving({"/files/net.pytorch": CONTENT, "/files/config_train.yml": b"model: {}"}) as served:
        yield served


def refused(url, sha256=None):
    with pytest.raises(BadInput) as caught:
        fetch(url, sha256)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def names(url):
    return sorted(p.name for p in place(url).parent.iterdir() if not p.name.endswith(".lock"))


def interrupted(server, url, at=300_000, sha256=None):
    """Let the server break off after `at` bytes."""
    server.cut = at
    said = refused(url, sha256)
    server.cut = None
    assert f"broke off after {at} of {len(CONTENT)} bytes; run the same again" in said
    assert not place(url).exists()


def test_a_file_comes_once_and_lies_beside_those_of_its_folder(server, cache):
    url = server.url("/files/net.pytorch")
    found = fetch(url, SHA256)
    assert found.read_bytes() == CONTENT
    assert found.is_relative_to(cache)
    assert fetch(url, SHA256) == fetch(url) == found
    assert [path for path, _ in server.asked] == ["/files/net.pytorch"]
    assert fetch(server.url("/files/config_train.yml")).parent == found.parent
    assert names(url) == ["config_train.yml", "config_train.yml.sha256", "net.pytorch", "net.pytorch.sha256"]


@pytest.mark.parametrize("known", [SHA256, None])
def test_a_broken_download_is_continued(server, known):
    url = server.url("/files/net.pytorch")
    interrupted(server, url, sha256=known)
    assert fetch(url, known).read_bytes() == CONTENT
    assert server.asked[1:] == [("/files/net.pytorch", "bytes=300000-")]
    assert names(url) == ["net.pytorch", "net.pytorch.sha256"]


def test_a_download_breaks_off_more_than_once(server):
    url = server.url("/files/net.pytorch")
    for at in (100_000, 300_000, 500_000):
        server.cut = 100_000 if at == 100_000 else 200_000
        assert f"after {at} of" in refused(url)
    server.cut = None
    assert fetch(url, SHA256).read_bytes() == CONTENT


def test_a_server_without_ranges_sends_all_of_it_again(server):
    url = server.url("/files/net.pytorch")
    interrupted(server, url)
    server.ranges = False
    assert fetch(url, SHA256).read_bytes() == CONTENT


def test_a_file_that_changed_meanwhile_is_taken_anew(server):
    url = server.url("/files/net.pytorch")
    interrupted(server, url)
    server.files["/files/net.pytorch"], server.etag = CONTENT[::-1], '"two"'
    assert fetch(url).read_bytes() == CONTENT[::-1]


def test_without_digest_and_version_nothing_is_continued(server):
    url = server.url("/files/net.pytorch")
    server.etag = None
    interrupted(server, url)
    server.files["/files/net.pytorch"] = CONTENT[::-1]
    assert fetch(url).read_bytes() == CONTENT[::-1]
    assert server.asked[-1] == ("/files/net.pytorch", None)


def test_a_digest_finds_the_halves_of_two_files(server):
    url = server.url("/files/net.pytorch")
    server.etag = None
    interrupted(server, url, sha256=SHA256)
    server.files["/files/net.pytorch"] = CONTENT[::-1]
    assert "expected " + SHA256 in refused(url, SHA256)
    server.files["/files/net.pytorch"] = CONTENT
    assert fetch(url, SHA256).read_bytes() == CONTENT


@pytest.mark.parametrize("length", [len(CONTENT), len(CONTENT) + 5])
def test_what_was_left_by_a_kill_before_the_rename_is_used_if_it_is_whole(server, length):
    url = server.url("/files/net.pytorch")
    part = place(url).with_name("net.pytorch.part")
    part.parent.mkdir(parents=True)
    part.write_bytes((CONTENT + b"extra")[:length])
    assert fetch(url, SHA256).read_bytes() == CONTENT
    assert len(server.asked) == 1 + (length > len(CONTENT))


def test_a_wrong_digest_leaves_nothing_behind(server):
    url = server.url("/files/net.pytorch")
    said = refused(url, "0" * 64)
    assert f"{url}: found sha256 {SHA256}, expected {'0' * 64}" in said
    assert names(url) == []


def test_another_digest_for_a_file_that_is_here_is_told_from_damage(server):
    url = server.url("/files/net.pytorch")
    found = fetch(url)
    assert "expected 000" in (said := refused(url, "0" * 64))
    assert "correct sha256 or the address" in said
    found.write_bytes(CONTENT[:-1])
    for known in (None, SHA256):
        assert "it was damaged since: delete it and run the same again" in refused(url, known)
    found.unlink()
    assert fetch(url).read_bytes() == CONTENT


def test_a_file_put_into_the_cache_by_hand_is_taken():
    url = "http://127.0.0.1:9/files/net.pytorch"
    assert f"put the file at {place(url)}" in refused(url)
    place(url).write_bytes(CONTENT)
    assert fetch(url, SHA256).read_bytes() == CONTENT


def test_no_network_is_one_line():
    assert "http://127.0.0.1:9/net: cannot be reached (Connection refused)" in refused(
        "http://127.0.0.1:9/net"
    )


def test_an_address_without_a_file_is_one_line(server):
    assert "the server answers 404 Not Found; check the address" in refused(server.url("/files/none"))


@pytest.mark.parametrize("url", ["http://", "http://[", "http://127.0.0.1:x/a"])
def test_an_address_that_is_none_is_one_line(url):
    assert "cannot be reached" in refused(url)


def test_a_server_that_sends_another_part_is_not_believed(server, monkeypatch):
    from small_networks import Handler

    url = server.url("/files/net.pytorch")
    interrupted(server, url)
    send = Handler.send_header
    monkeypatch.setattr(
        Handler, "send_header",
        lambda self, key, value: send(self, key, "bytes 7-9/10" if key == "Content-Range" else value),
    )  # fmt: skip
    assert "sent another part than it was asked for" in refused(url)
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(place(url).parents[3]))


def test_many_that_ask_at_once_get_one_download(server):
    url = server.url("/files/net.pytorch")
    found = []
    threads = [threading.Thread(target=lambda: found.append(fetch(url).read_bytes())) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [CONTENT] * 6
    assert len(server.asked) == 1


def test_a_full_disk_is_not_taken_for_the_network(server, monkeypatch):
    from cellflow.networks.sources import download

    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(download.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        fetch(server.url("/files/net.pytorch"))


@pytest.mark.parametrize(
    "name", ["/files/../../../etc/passwd", "/a/%2e%2e", "/a/..%2f..%2fb", "/", "/a/.hidden"]
)
def test_no_address_leads_out_of_the_cache(name):
    found = place(f"http://127.0.0.1:9{name}")
    assert found.resolve().is_relative_to(cache_folder().resolve())
    assert found.parent.parent == cache_folder()
    assert found.name[0] != "."
