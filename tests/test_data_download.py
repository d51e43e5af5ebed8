"""Downloads against a server of our own that cuts off, refuses, lies and goes down."""

import hashlib
import http.server
import threading
import time
import warnings

import numpy as np
import pytest

from tinydiff.data import download
from tinydiff.data.download import DatasetNotFoundError, Source, fetch

CONTENT = np.random.default_rng(0).bytes(300_000)
NAME = "pictures.bin"


class Server(http.server.ThreadingHTTPServer):
    """Serves CONTENT under any name, with the faults a test asks for."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.cut_after = None  # bytes a connection
        self.ranges = True
        self.status = None
        self.delay = 0
        self.asked = []  # the Range header of every request

    @property
    def home(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server, asked = self.server, self.headers.get("Range")
        server.asked.append(asked)
        time.sleep(server.delay)
        start = int(asked[len("bytes=") : -1]) if asked and server.ranges else 0
        if server.status or start >= len(server.content):
            self.send_error(server.status or 416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(server.content) - start))
        if start:
            last = len(server.content) - 1
            self.send_header("Content-Range", f"bytes {start}-{last}/{last + 1}")
        self.end_headers()
        end = None if server.cut_after is None else start + server.cut_after
        self.wfile.write(server.content[start:end])

    def log_message(self, *_):
        pass


@pytest.fixture
def serve():
    servers = []

    def start() -> Server:
        servers.append(Server())
        # A short poll, or closing each server takes half a second.
        threading.Thread(target=servers[-1].serve_forever, args=(0.005,), daemon=True).start()
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def server(serve):
    return serve()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.delenv("TINYDIFF_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache" / "tinydiff" / "pictures"


def source(*homes: str, algorithm: str = "sha256") -> Source:
    digest = hashlib.new(algorithm, CONTENT).hexdigest()
    return Source("Pictures", "pictures", homes, {NAME: f"{algorithm}:{digest}"})


def left_in(folder):
    """Files in the cache, less the empty lock."""
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def part_of(cache, content: bytes):
    cache.mkdir(parents=True)
    path = cache / f"{NAME}.part"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
def test_downloads_once_with_a_progress_bar(server, cache, capsys, algorithm):
    wanted = source(server.home, algorithm=algorithm)
    assert fetch(wanted, NAME) == CONTENT
    shown = capsys.readouterr().err
    assert "Pictures pictures.bin: 100%" in shown
    assert "300k/300k" in shown
    assert left_in(cache) == [NAME]
    assert (cache / NAME).read_bytes() == CONTENT
    assert fetch(wanted, NAME) == CONTENT
    assert server.asked == [None]


def test_resumes_where_the_connection_was_cut(server, cache, capsys):
    server.cut_after = 120_000
    assert fetch(source(server.home), NAME) == CONTENT
    assert server.asked == [None, "bytes=120000-", "bytes=240000-"]
    assert left_in(cache) == [NAME]
    assert "240k/300k" in capsys.readouterr().err  # the third bar begins where the second ended


def test_resumes_what_an_earlier_run_left(server, cache):
    part_of(cache, CONTENT[:100_000])
    assert fetch(source(server.home), NAME) == CONTENT
    assert server.asked == ["bytes=100000-"]


def test_another_home_goes_on_where_the_first_broke_down(serve, cache):
    first, second = serve(), serve()
    first.cut_after = 200_000
    first.ranges = False  # so that it gets no further than that
    assert fetch(source(first.home, second.home), NAME) == CONTENT
    assert second.asked == ["bytes=200000-"]


def test_restarts_where_the_server_does_not_resume(server, cache):
    server.ranges = False
    part_of(cache, CONTENT[:100_000])
    assert fetch(source(server.home), NAME) == CONTENT
    assert server.asked == ["bytes=100000-"]


@pytest.mark.parametrize("left", [b"x" * 100, b"x" * 300_000, CONTENT + b"more"])
def test_restarts_where_the_part_left_was_bad(server, cache, left):
    part_of(cache, left)
    assert fetch(source(server.home), NAME) == CONTENT
    assert server.asked == [f"bytes={len(left)}-", None]
    assert left_in(cache) == [NAME]


def test_a_part_that_was_complete_needs_no_bytes(server, cache):
    part_of(cache, CONTENT)
    assert fetch(source(server.home), NAME) == CONTENT
    assert server.asked == ["bytes=300000-"]
    assert left_in(cache) == [NAME]


def test_wrong_content_is_refused_and_not_kept(server, cache):
    server.content = b"<html>Please log in to this network</html>"
    with pytest.raises(DatasetNotFoundError, match="sent 42 bytes with sha256"):
        fetch(source(server.home), NAME)
    assert left_in(cache) == []


@pytest.mark.parametrize("fault", ["wrong", "missing"])
def test_the_next_home_helps_out(serve, cache, fault):
    first, second = serve(), serve()
    if fault == "wrong":
        first.content = b"another file"
    else:
        first.status = 404
    assert fetch(source(first.home, second.home), NAME) == CONTENT
    assert len(first.asked) == len(second.asked) == 1


def test_a_server_that_always_cuts_off_is_given_up(server, cache):
    server.cut_after = 1000
    server.ranges = False
    with pytest.raises(DatasetNotFoundError, match="cut after 1000 of 300000 bytes"):
        fetch(source(server.home), NAME)
    assert len(server.asked) == 2
    assert left_in(cache) == [f"{NAME}.part"]


def test_a_silent_server_is_given_up(server, cache, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", 0.05)
    server.delay = 0.5
    with pytest.raises(DatasetNotFoundError, match="timed out"):
        fetch(source(server.home), NAME)


def test_offline_one_sentence_says_what_to_put_where(cache):
    with pytest.raises(FileNotFoundError) as caught:
        fetch(source("http://127.0.0.1:9/", "http://127.0.0.1:9/mirror/"), NAME)
    message = str(caught.value)
    assert "Pictures is not on this machine and could not be downloaded" in message
    assert message.count("Connection refused") == 2
    assert f"put {NAME} into {cache}" in message
    assert "TINYDIFF_DATA" in message
    assert message.count(". ") == 0
    assert message.endswith(".")
    assert left_in(cache) == []


def test_a_cache_folder_that_cannot_be_is_said_in_the_same_sentence(server, cache):
    cache.parent.parent.mkdir()
    cache.parent.write_text("a file where the folder should be")
    with pytest.raises(DatasetNotFoundError, match=r"could not be downloaded \(.*: put"):
        fetch(source(server.home), NAME)


@pytest.mark.parametrize("folder", [".", "pictures"])
def test_a_folder_of_ones_own_comes_first(server, cache, tmp_path, monkeypatch, folder):
    own = tmp_path / "own"
    (own / folder).mkdir(parents=True, exist_ok=True)
    (own / folder / NAME).write_bytes(CONTENT)
    cache.mkdir(parents=True)
    (cache / NAME).write_bytes(b"damaged, but never looked at")
    monkeypatch.setenv("TINYDIFF_DATA", str(own))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fetch(source(server.home), NAME) == CONTENT
    assert server.asked == []


@pytest.mark.parametrize("bad", [CONTENT[:-1], b"", CONTENT[:-1] + b"?"])
def test_a_damaged_file_is_named_and_never_used(server, cache, tmp_path, monkeypatch, bad):
    own = tmp_path / "own"
    own.mkdir()
    (own / NAME).write_bytes(bad)
    monkeypatch.setenv("TINYDIFF_DATA", str(own))
    with pytest.warns(UserWarning, match=f"own/{NAME} is cut short, damaged .* {len(bad)} bytes"):
        assert fetch(source(server.home), NAME) == CONTENT
    assert (own / NAME).read_bytes() == bad  # a user's own file is the user's to mend
    server.status = 503
    (cache / NAME).write_bytes(bad)
    with (
        pytest.warns(UserWarning, match="is not used"),
        pytest.raises(DatasetNotFoundError, match="Service Unavailable"),
    ):
        fetch(source(server.home), NAME)


def test_a_damaged_file_in_the_cache_is_replaced(server, cache):
    cache.mkdir(parents=True)
    (cache / NAME).write_bytes(CONTENT[:1000])
    with pytest.warns(UserWarning, match="is not used"):
        assert fetch(source(server.home), NAME) == CONTENT
    assert (cache / NAME).read_bytes() == CONTENT


def test_a_mistyped_tinydiff_data_is_an_error(cache, tmp_path, monkeypatch):
    monkeypatch.setenv("TINYDIFF_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(NotADirectoryError, match=r"TINYDIFF_DATA is .*nowhere"):
        fetch(source(), NAME)


def test_two_at_once_download_once(server, cache):
    server.delay = 0.1
    wanted = source(server.home)
    got = []
    threads = [threading.Thread(target=lambda: got.append(fetch(wanted, NAME))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [CONTENT] * 3
    assert server.asked == [None]
