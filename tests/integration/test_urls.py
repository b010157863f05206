"""`{"url": ...}`: fetched from real servers on this machine, or refused before they hear of it.

127.0.0.1 is a network that the tests name; 127.0.0.2 stands for a private one, and counts who asks.
"""

import base64
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from artifact.rules import Preprocessing
from container.settings import networks
from serve import payload
from serve.payload import Item
from serve.refusal import PayloadError, TooLargeError
from serve.urls import fetch as module
from serve.urls import lookup
from serve.urls.address import Rule
from serve.urls.fetch import Limits, fetch
from serve.urls.gather import PLACES, gather
from tests import make, serving
from tests.serving import Server

PHOTO = make.photo()
HERE, PRIVATE = "127.0.0.1", "127.0.0.2"
RULE = Rule(networks(f"{HERE}/32"))
LIMITS = Limits(max_bytes=100_000, seconds=5)
SLOW = Limits(max_bytes=100_000, seconds=0.6)


class Photos(BaseHTTPRequestHandler):
    """A web server with all the habits that there are."""

    protocol_version = "HTTP/1.1"
    asked: list[tuple[str, str, dict[str, str]]] = []

    def do_GET(self) -> None:  # noqa: N802
        self.asked.append((self.server.server_address[0], self.path, dict(self.headers)))
        name, _, rest = self.path[1:].partition("/")
        getattr(self, f"_{name}")(rest)

    def _answer(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for key, value in ({"Content_Length": str(len(body))} | headers).items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def _photo(self, rest: str) -> None:
        self._answer(PHOTO)

    def _text(self, rest: str) -> None:
        self._answer(b"secret words")

    def _status(self, rest: str) -> None:
        self._answer(b"secret words", int(rest))

    def _to(self, rest: str) -> None:
        self._answer(b"", 302, Location=base64.urlsafe_b64decode(rest).decode())

    def _loop(self, rest: str) -> None:
        self._answer(b"", 301, Location=self.path)

    def _packed(self, rest: str) -> None:
        self._answer(PHOTO, Content_Encoding="gzip")

    def _declared(self, rest: str) -> None:
        self._answer(PHOTO, Content_Length=rest)
        self.close_connection = True

    def _chunked(self, rest: str) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for _ in range(int(rest)):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(PHOTO), PHOTO))
        self.wfile.write(b"0\r\n\r\n")

    def _unending(self, rest: str) -> None:
        self.send_response(200)
        self.end_headers()
        for _ in range(1000):
            self.wfile.write(bytes(10_000))

    def _drip(self, rest: str) -> None:
        """A byte every 50 ms: of the headers, or of the body."""
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n"
        sent = head if rest == "head" else head + b"\r\n"
        self.wfile.write(sent)
        for _ in range(200):
            self.wfile.write(b"a")
            time.sleep(0.05)

    def _silent(self, rest: str) -> None:
        time.sleep(10)

    def log_message(self, *arguments: object) -> None:
        pass

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:  # the client hung up, as it should
            self.close_connection = True

    def finish(self) -> None:
        try:
            super().finish()
        except OSError:
            return


class Web(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64


def web_server(address: str, context: ssl.SSLContext | None = None) -> ThreadingHTTPServer:
    server = Web((address, 0), Photos)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.fixture(scope="module")
def web() -> Iterator[Callable[..., str]]:
    """The URL of a path: on the server that may be asked, or on the other."""
    servers = {address: web_server(address) for address in (HERE, PRIVATE)}

    def url(path: str, address: str = HERE) -> str:
        return f"http://{address}:{servers[address].server_port}/{path}"

    yield url
    for each in servers.values():
        each.shutdown()
        each.server_close()


def leading_to(url: str) -> str:
    return "to/" + base64.urlsafe_b64encode(url.encode()).decode()


def private_was_asked() -> bool:
    return any(address == PRIVATE for address, _, _ in Photos.asked)


@pytest.mark.parametrize("path", ["photo", "photo/a.jpg?x=1#top", "chunked/1"])
def test_a_photo_is_fetched(web: Callable[..., str], path: str) -> None:
    assert fetch(web(path), RULE, LIMITS) == PHOTO


def test_redirects_are_followed_up_to_a_number(web: Callable[..., str]) -> None:
    once = web(leading_to("/photo"))
    thrice = web(leading_to(web(leading_to(once))))

    assert fetch(thrice, RULE, LIMITS) == PHOTO
    for url in (web(leading_to(thrice)), web("loop")):
        with pytest.raises(PayloadError, match="more than 3 redirects"):
            fetch(url, RULE, LIMITS)


def test_the_server_hears_its_name_and_nothing_of_ours(web: Callable[..., str]) -> None:
    rule = Rule(networks(f"{HERE}/32"), resolve=lambda host, port: [HERE])
    url = web("photo/named").replace(HERE, "photos.example")

    fetch(url, rule, LIMITS)

    _, _, headers = next(entry for entry in Photos.asked if entry[1] == "/photo/named")
    assert headers["Host"] == url.split("/")[2]
    assert headers["Accept-Encoding"] == "identity"
    assert not {"Authorization", "Cookie", "Referer"} & headers.keys()


@pytest.mark.parametrize(
    ("made", "message"),
    [
        pytest.param(lambda web: web("photo", PRIVATE), "not public", id="private"),
        pytest.param(
            lambda web: web(leading_to(web("photo", PRIVATE))), "not public", id="redirect to it"
        ),
        pytest.param(
            lambda web: web(leading_to(web(leading_to(web("photo", PRIVATE))))),
            "not public",
            id="redirect by way of another",
        ),
        pytest.param(
            lambda web: web("photo", PRIVATE).replace(PRIVATE, "[::ffff:127.0.0.2]"),
            "not public",
            id="mapped into IPv6",
        ),
        pytest.param(
            lambda web: web("photo", PRIVATE).replace(PRIVATE, "2130706434"),
            "not public",
            id="as one number",
        ),
        pytest.param(
            lambda web: web("photo").replace("//", "//user:word@"), "no user", id="credentials"
        ),
        pytest.param(
            lambda web: web(leading_to(web("photo").replace("//", "//u@"))),
            "no user",
            id="credentials in a redirect",
        ),
        pytest.param(lambda web: web(leading_to("file:///etc/passwd")), "neither", id="file"),
        pytest.param(lambda web: "ftp://8.8.8.8/a", "neither", id="ftp"),
        pytest.param(lambda web: "gopher://8.8.8.8/a", "neither", id="gopher"),
        pytest.param(lambda web: "http:///a", "no host", id="no host"),
        pytest.param(lambda web: "http://8.8.8.8:22/", "port 22", id="odd port"),
        pytest.param(lambda web: "http://a:99999999/", "port", id="absurd port"),
        pytest.param(lambda web: "http://[fe80::1%25eth0]/", "no host", id="scope"),
        pytest.param(lambda web: "http://[::1", "cannot be read", id="half an address"),
        pytest.param(lambda web: "http://a.b\\@127.0.0.1/", "percent-enc", id="backslash"),
        pytest.param(lambda web: web("photo") + "\r\nX: 1", "percent-enc", id="line break"),
        pytest.param(lambda web: web("photo/") + "a" * 5000, "4096", id="too long"),
        pytest.param(lambda web: "http://no-such-name.invalid/", "no address", id="no such name"),
        pytest.param(lambda web: web("status/404"), "the answer is 404", id="not found"),
        pytest.param(lambda web: web("status/304"), "the answer is 304", id="not modified"),
        pytest.param(lambda web: web("packed"), "compressed", id="compressed"),
        pytest.param(lambda web: web("declared/9000"), "of 9,000 bytes", id="cut short"),
    ],
)
def test_a_url_is_refused(
    web: Callable[..., str], made: Callable[[Callable[..., str]], str], message: str
) -> None:
    with pytest.raises(PayloadError, match=message) as caught:
        fetch(made(web), RULE, LIMITS)

    assert caught.value.status == 400
    assert "secret" not in caught.value.message
    assert not private_was_asked()


@pytest.mark.parametrize("path", ["declared/100001", "chunked/200", "unending"])
def test_a_photo_of_too_many_bytes_is_left(web: Callable[..., str], path: str) -> None:
    with pytest.raises(TooLargeError, match="100,000 bytes"):
        fetch(web(path), RULE, LIMITS)


@pytest.mark.parametrize("path", ["drip/head", "drip/body", "silent"])
def test_a_slow_server_is_left_in_time(web: Callable[..., str], path: str) -> None:
    began = time.monotonic()

    with pytest.raises(PayloadError, match=r"did not arrive within 0.6 s"):
        fetch(web(path), RULE, SLOW)
    assert time.monotonic() - began < 5


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """The machine's, silent about slow.example for 5 s, or until the event is set."""
    woken, asked = threading.Event(), socket.getaddrinfo

    def getaddrinfo(host: str, *arguments: object, **named: object) -> object:
        if host == "slow.example" and not woken.wait(5):
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return asked(HERE if host == "slow.example" else host, *arguments, **named)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield woken
    woken.set()
    for thread in looking_up():
        thread.join()


def looking_up() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "look-up"]


@pytest.mark.parametrize(
    "made",
    [
        pytest.param(lambda web: "http://slow.example/photo", id="the first name"),
        pytest.param(lambda web: web(leading_to("http://slow.example/photo")), id="a redirect's"),
    ],
)
def test_a_slow_look_up_is_left_in_time(
    web: Callable[..., str],
    resolver: threading.Event,
    made: Callable[[Callable[..., str]], str],
) -> None:
    began = time.monotonic()

    with pytest.raises(PayloadError, match=r"did not arrive within 0.6 s"):
        fetch(made(web), RULE, SLOW)
    assert time.monotonic() - began < 4


def test_slow_names_keep_no_place_of_other_photos(
    web: Callable[..., str], resolver: threading.Event
) -> None:
    urls = ["http://slow.example/photo"] * PLACES + [web("photo")]
    rules = payload.Rules(Preprocessing.for_size(32), 10**6, 10)
    began = time.monotonic()
    *slow, quick = gather(
        [Item(url=url) for url in urls],
        lambda url: payload.photo(fetch(url, RULE, SLOW), rules),
        began + 30,
    )
    seconds = time.monotonic() - began

    assert quick.image is not None
    assert seconds < 4
    assert {each.error.message for each in slow} == {"url: the photo did not arrive within 0.6 s"}


def test_look_ups_that_are_left_behind_are_few_and_end(
    web: Callable[..., str], resolver: threading.Event
) -> None:
    for _ in range(lookup.MOST + 8):
        with pytest.raises(PayloadError, match="did not arrive"):
            fetch("http://slow.example/photo", RULE, Limits(max_bytes=100_000, seconds=0.01))
    left = len(looking_up())
    resolver.set()

    assert left == lookup.MOST
    assert fetch(web("photo"), RULE, LIMITS) == PHOTO
    assert fetch(web("photo").replace(HERE, "slow.example"), RULE, LIMITS) == PHOTO


def test_a_name_that_changes_its_mind_is_asked_where_it_was_checked(
    web: Callable[..., str],
) -> None:
    answers = iter([[HERE], [PRIVATE], [PRIVATE]])
    rule = Rule(networks(f"{HERE}/32"), resolve=lambda host, port: next(answers))
    url = web("photo").replace(HERE, "rebinding.example")

    assert fetch(url, rule, LIMITS) == PHOTO
    with pytest.raises(PayloadError, match="not public"):
        fetch(url, rule, LIMITS)
    assert not private_was_asked()


def test_one_address_of_several_that_is_private_refuses_them_all(web: Callable[..., str]) -> None:
    rule = Rule(networks(f"{HERE}/32"), resolve=lambda host, port: [HERE, PRIVATE])

    with pytest.raises(PayloadError, match="not public"):
        fetch(web("photo").replace(HERE, "both.example"), rule, LIMITS)


def test_the_next_address_is_tried_where_one_does_not_answer(web: Callable[..., str]) -> None:
    rule = Rule(networks("127.0.0.0/8"), resolve=lambda host, port: ["127.0.0.3", HERE])

    assert fetch(web("photo").replace(HERE, "two.example"), rule, LIMITS) == PHOTO


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of photos.example, signed by itself; key and certificate in one file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "photos.example")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("photos.example")]), False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "photos.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


def test_tls_is_of_the_name_in_the_url_and_trusted(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    names: list[str | None] = []
    context.sni_callback = lambda sock, name, used: names.append(name)
    server = web_server(HERE, context)
    rule = Rule(networks(f"{HERE}/32"), resolve=lambda host, port: [HERE])
    here = f":{server.server_port}/photo"

    with pytest.raises(PayloadError, match="not to be trusted: self"):
        fetch("https://photos.example" + here, rule, LIMITS)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    module._context.cache_clear()
    fetched = fetch("https://photos.example" + here, rule, LIMITS)
    with pytest.raises(PayloadError, match="not to be trusted: Hostname mismatch"):
        fetch("https://other.example" + here, rule, LIMITS)
    module._context.cache_clear()
    server.shutdown()
    server.server_close()

    assert fetched == PHOTO
    assert names == ["photos.example", "photos.example", "other.example"]


@pytest.fixture(scope="module")
def fetching(tiny_artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("fetching") / "log"
    settings = {
        "ALLOW_URLS": "true",
        "URL_NETWORKS": f"{HERE}/32",
        "URL_SECONDS": "2",
        "SAGEMAKER_MAX_PAYLOAD_IN_MB": "1",
    }
    with serving.running(tiny_artifact, log, **settings) as ready:
        yield ready


def ask(server: Server, value: object, content_type: str = "application/json"):
    return server.invoke(json.dumps(value).encode(), content_type)


def test_a_url_is_answered_as_its_photo_is(fetching: Server, web: Callable[..., str]) -> None:
    alone = ask(fetching, {"url": web("photo"), "id": "a"})
    several = ask(fetching, {"instances": [{"url": web("photo")}, {"url": web("text")}] * 12})
    lines = fetching.invoke(
        b"\n".join(json.dumps({"url": web(path)}).encode() for path in ("photo", "status/500")),
        "application/jsonlines",
        "application/jsonlines",
    )

    (expected,) = fetching.invoke(PHOTO).json()["predictions"]
    assert alone.json()["predictions"] == [expected | {"id": "a"}]
    for place, entry in enumerate(several.json()["predictions"]):
        if place % 2:
            assert entry["index"] == place
            assert "none of JPEG" in entry["error"]
        else:
            assert entry["label"] == expected["label"]
            assert entry["probability"] == pytest.approx(expected["probability"], abs=1e-4)
    assert len(lines.text.splitlines()) == 2
    assert "the answer is 500" in lines.text.splitlines()[1]


@pytest.mark.parametrize(
    ("made", "status", "message"),
    [
        pytest.param(lambda web: web("photo", PRIVATE), 400, "not public", id="private"),
        pytest.param(lambda web: web("drip/body"), 400, "within 2 s", id="slow"),
        pytest.param(lambda web: web("unending"), 413, "1,048,576 bytes", id="too many bytes"),
        pytest.param(lambda web: web("text"), 400, "none of JPEG", id="no photo"),
        pytest.param(lambda web: 7, 400, "no image", id="a number"),
        pytest.param(lambda web: "http://169.254.169.254/", 400, "not public", id="credentials"),
    ],
)
def test_a_url_that_leads_nowhere_is_the_callers_mistake(
    fetching: Server, web: Callable[..., str], made: Callable, status: int, message: str
) -> None:
    answer = ask(fetching, {"url": made(web)})

    assert answer.status_code == status
    assert message in answer.json()["error"]
    assert not private_was_asked()


def test_slow_photos_take_no_place_among_those_that_decode(
    fetching: Server, web: Callable[..., str]
) -> None:
    statuses: list[int] = []

    def wait() -> None:
        statuses.append(ask(fetching, {"url": web("silent")}).status_code)

    slow = [threading.Thread(target=wait) for _ in range(24)]
    for thread in slow:
        thread.start()
    began = time.monotonic()
    answer = fetching.invoke(PHOTO)
    seconds = time.monotonic() - began
    for thread in slow:
        thread.join()

    assert answer.status_code == 200
    assert seconds < 1.8, "a photo waited for those that are fetched"
    assert sorted(set(statuses)) == [400, 503], "as many as may wait do, the others are told"
    assert statuses.count(400) >= 8


def test_no_url_is_fetched_unless_a_setting_allows_it(
    server: Server, web: Callable[..., str]
) -> None:
    before = len(Photos.asked)

    answer = ask(server, {"url": web("photo")})

    assert answer.status_code == 400
    assert "ALLOW_URLS=true" in answer.json()["error"]
    assert len(Photos.asked) == before


def test_a_listening_port_that_says_nothing_of_http_is_refused() -> None:
    with socket.create_server((HERE, 0)) as listening:

        def greet() -> None:
            connection, _ = listening.accept()
            connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
            connection.close()

        threading.Thread(target=greet, daemon=True).start()
        with pytest.raises(PayloadError, match="no whole answer") as caught:
            fetch(f"http://{HERE}:{listening.getsockname()[1]}/", RULE, LIMITS)

    assert "SSH" not in caught.value.message
