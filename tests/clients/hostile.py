"""Malformed and malicious requests against a served model.

Each has the status that it must get, or none where the server may only close the connection. The server must answer others meanwhile and
afterwards, keep no sequence, and end in good order without a panic. `cargo xtask clients` runs it.
"""

import json
import socket
import struct
import threading
import time
import unittest

from hostile_bodies import CHAT, HELLO, TEXT, bodies
from own_server import Served

# Seconds in which a request must have arrived.
REQUEST_TIME = 4
BODY_LIMIT = 1_500_000
KEY = "key-of-the-test"
AUTHORIZED = f"Host: x\r\nAuthorization: Bearer {KEY}\r\n"
JSON = "Content-Type: application/json\r\n"
ANSWER = json.dumps({"messages": HELLO, "max_tokens": 1})


def request(start, headers="", body=b""):
    body = body.encode() if isinstance(body, str) else body
    return f"{start}\r\n{AUTHORIZED}{headers}\r\n".encode() + body


def post(headers="", body=ANSWER, path=CHAT):
    return request(f"POST {path} HTTP/1.1", JSON + headers, body)


def sized(body=ANSWER, headers="", path=CHAT):
    return post(f"Content-Length: {len(body)}\r\n{headers}", body, path)


def chunked(body):
    return post("Transfer-Encoding: chunked\r\n", body)


def chunk(text):
    return f"{len(text):x}\r\n{text}\r\n"


# What is sent on a connection, and the statuses that may come; None: the connection is closed without an answer.
CLOSED = (None, 400)
HTTP = {
    # No HTTP, or none that we speak.
    "nothing": (b"\r\n\r\n", CLOSED),
    "noise": (bytes(range(256)) * 4, CLOSED),
    "a TLS greeting": (bytes.fromhex("16030100a5010000a10303") + b"\x11" * 160, CLOSED),
    "HTTP/2 by prior knowledge": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00" * 9, CLOSED),
    "another protocol": (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", CLOSED),
    "no version": (b"GET /health\r\n\r\n", CLOSED),
    "HTTP 0.9": (b"GET /health HTTP/0.9\r\n\r\n", CLOSED),
    "HTTP 3": (b"GET /health HTTP/3.0\r\n\r\n", CLOSED),
    "a version that is no number": (b"GET /health HTTP/x.y\r\n\r\n", CLOSED),
    "line feeds only": (b"GET /health HTTP/1.1\nHost: x\n\n", (200, 400)),
    "blanks in the path": (request("GET /he alth HTTP/1.1"), CLOSED),
    "control characters in the path": (request("GET /\x01\x02 HTTP/1.1"), CLOSED),
    "no path": (b"GET  HTTP/1.1\r\nHost: x\r\n\r\n", CLOSED),
    "a path of 100 kB": (request(f"GET /{'a' * 100_000} HTTP/1.1"), (404, 414, 431)),
    "a path of 1 MB": (request(f"GET /{'a' * 1_000_000} HTTP/1.1"), (None, 414, 431)),
    "a method of 100 kB": (request(f"{'A' * 100_000} / HTTP/1.1"), (None, 400, 404, 405, 431)),
    "a method with a control character": (request("GE\x00T /health HTTP/1.1"), CLOSED),
    # Headers.
    "a header without a colon": (request("GET /v1/models HTTP/1.1", "Nonsense\r\n"), CLOSED),
    "a header without a name": (request("GET /v1/models HTTP/1.1", ": x\r\n"), CLOSED),
    "a blank in a header's name": (request("GET /v1/models HTTP/1.1", "A b: x\r\n"), CLOSED),
    "a folded header": (request("GET /v1/models HTTP/1.1", "A: x\r\n y\r\n"), CLOSED),
    "a NUL in a header": (request("GET /v1/models HTTP/1.1", "A: \x00\r\n"), CLOSED),
    "a header of 1 MB": (request("GET /v1/models HTTP/1.1", f"A: {'x' * 1_000_000}\r\n"), (None, 431)),
    "1000 headers": (request("GET /v1/models HTTP/1.1", "".join(f"A{n}: x\r\n" for n in range(1000))), (431,)),
    "a byte that is no ASCII in a header": (b"GET /v1/models HTTP/1.1\r\n" + AUTHORIZED.encode() + b"A: \xff\xfe\r\n\r\n", (200, 400)),
    "a key that is no ASCII": (b"GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\xfe\r\n\r\n", (401,)),
    "no key": (b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n", (401,)),
    "another way to log in": (b"GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Basic eDp4\r\n\r\n", (401,)),
    "a key with more behind it": (f"GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}x\r\n\r\n".encode(), (401,)),
    "two keys, the first one wrong": (f"GET /v1/models HTTP/1.1\r\nAuthorization: Bearer x\r\n{AUTHORIZED}\r\n".encode(), (400, 401)),
    "an upgrade": (request("GET /health HTTP/1.1", "Connection: Upgrade\r\nUpgrade: websocket\r\n"), (200, 400)),
    "an upgrade to HTTP/2": (request("GET /health HTTP/1.1", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"), (200, 400)),
    # Paths and methods.
    "no such path": (request("GET /v1/nothing HTTP/1.1"), (404,)),
    "a path that climbs": (request("GET /../../etc/passwd HTTP/1.1"), (404,)),
    "an encoded path that climbs": (request("GET /v1/models/..%2f..%2fetc%2fpasswd HTTP/1.1"), (404,)),
    "no such model": (request("GET /v1/models/x HTTP/1.1"), (404,)),
    "two slashes": (request("GET //health HTTP/1.1"), (404,)),
    "an absolute address": (request("GET http://elsewhere.example/health HTTP/1.1"), (200, 400, 404)),
    "a proxy's method": (request("CONNECT elsewhere.example:443 HTTP/1.1"), (400, 404, 405)),
    "the server as a whole": (request("OPTIONS * HTTP/1.1"), (400, 404, 405)),
    "GET for an answer": (request(f"GET {CHAT} HTTP/1.1"), (405,)),
    "PUT for an answer": (request(f"PUT {CHAT} HTTP/1.1", f"{JSON}Content-Length: {len(ANSWER)}\r\n", ANSWER), (405,)),
    "POST for metrics": (request("POST /metrics HTTP/1.1", "Content-Length: 0\r\n"), (405,)),
    "DELETE for a model": (request("DELETE /v1/models/x HTTP/1.1"), (405,)),
    "a preflight of a browser": (request(f"OPTIONS {CHAT} HTTP/1.1", "Origin: http://evil.example\r\n"), (405,)),
    "a method of our own": (request("BREW /health HTTP/1.1"), (405,)),
    # Content types.
    "no content type": (request(f"POST {CHAT} HTTP/1.1", f"Content-Length: {len(ANSWER)}\r\n", ANSWER), (415,)),
    "a form": (request(f"POST {CHAT} HTTP/1.1", "Content-Type: text/plain\r\nContent-Length: 2\r\n", "{}"), (415,)),
    "nearly JSON": (request(f"POST {CHAT} HTTP/1.1", "Content-Type: application/jsonx\r\nContent-Length: 2\r\n", "{}"), (415,)),
    "a content type that is no ASCII": (
        b"POST /tokenize HTTP/1.1\r\n" + AUTHORIZED.encode() + b"Content-Type: \xff\r\nContent-Length: 2\r\n\r\n{}",
        (415,),
    ),
    "a content type with parameters": (
        request(f"POST {CHAT} HTTP/1.1", f"Content-Type: Application/JSON; charset=utf-8\r\nContent-Length: {len(ANSWER)}\r\n", ANSWER),
        (200,),
    ),
    "a compressed body": (sized("\x1f\x7f", "Content-Encoding: gzip\r\n"), (400, 415)),
    # Lengths.
    "no body": (post("", ""), (400, 411)),
    "a length that is no number": (post("Content-Length: x\r\n"), (400,)),
    "a negative length": (post("Content-Length: -1\r\n"), (400,)),
    "a length with a sign": (post(f"Content-Length: +{len(ANSWER)}\r\n"), (400,)),
    "a length of 2^64": (post(f"Content-Length: {2**64}\r\n"), (400, 413)),
    "a length of 2^63": (post(f"Content-Length: {2**63}\r\n"), (400, 413)),
    "a length of a terabyte": (post(f"Content-Length: {2**40}\r\n"), (413,)),
    "two different lengths": (post(f"Content-Length: 2\r\nContent-Length: {len(ANSWER)}\r\n"), (400,)),
    "a list of lengths": (post(f"Content-Length: {len(ANSWER)}, 2\r\n"), (400,)),
    "a length that is too short": (post("Content-Length: 5\r\n"), (400,)),
    "a body that is just too large": (sized(" " * (BODY_LIMIT + 1)), (413,)),
    "a large body that is announced": (post("Content-Length: 2000000\r\nExpect: 100-continue\r\n", ""), (413, 417)),
    # Chunks.
    "chunks": (chunked(chunk(ANSWER[:9]) + chunk(ANSWER[9:]) + "0\r\n\r\n"), (200,)),
    "chunks of one byte": (chunked("".join(map(chunk, ANSWER)) + "0\r\n\r\n"), (200,)),
    "a chunk whose size is no number": (chunked(f"xyz\r\n{ANSWER}\r\n0\r\n\r\n"), (400,)),
    "a negative chunk": (chunked(f"-5\r\n{ANSWER}\r\n0\r\n\r\n"), (400,)),
    "a chunk of 2^64": (chunked(f"10000000000000000\r\n{ANSWER}\r\n0\r\n\r\n"), (400, 413)),
    "a chunk of 2^63": (chunked(f"8000000000000000\r\n{ANSWER}"), (400, 408, 413)),
    "a chunk without its end": (chunked(f"5\r\n{ANSWER}\r\n0\r\n\r\n"), (400,)),
    "an extension of a megabyte": (chunked(f"2;{'x' * 1_000_000}\r\n{{}}\r\n0\r\n\r\n"), (400, 413, 431)),
    "trailers without end": (chunked(chunk(ANSWER) + "0\r\n" + "A: x\r\n" * 100_000 + "\r\n"), (200, 400, 413, 431)),
    "chunks that are too large together": (chunked(chunk(" " * 100_000) * 16 + "0\r\n\r\n"), (413,)),
    "a length and chunks": (post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", chunk(ANSWER) + "0\r\n\r\n"), (200, 400)),
    "an unknown transfer encoding": (post("Transfer-Encoding: gzip\r\n"), (400, 501)),
    "chunked twice": (post("Transfer-Encoding: chunked, chunked\r\n", chunk(ANSWER) + "0\r\n\r\n"), (200, 400, 501)),
    "chunks that are not the last encoding": (post("Transfer-Encoding: chunked, gzip\r\n"), (400, 501)),
    "chunks by HTTP 1.0": (
        request(f"POST {CHAT} HTTP/1.0", JSON + "Transfer-Encoding: chunked\r\n", chunk(ANSWER) + "0\r\n\r\n"),
        (200, 400),
    ),
}


class Hostile(unittest.TestCase):
    sent = 0

    @classmethod
    def setUpClass(cls):
        cls.server = Served(
            *["--parallel", "4", "--queue", "16", "--context", "2048"],
            *["--max-body", str(BODY_LIMIT), "--request-timeout", str(REQUEST_TIME)],
            key=KEY,
        )

    @classmethod
    def tearDownClass(cls):
        cls.server.wait_until_idle()
        cls.server.__exit__(None)
        print(f"{cls.sent} hostile requests")

    def tearDown(self):
        self.assertTrue(self.server.is_running(), self.server.complaints())
        self.assertEqual(self.server.get("/health")[0], 200)

    def count(self):
        type(self).sent += 1

    def open(self, data=b"", timeout=15):
        self.count()
        connection = self.server.connect(timeout)
        try:
            connection.sendall(data)
        except ConnectionError:
            pass  # It was answered before all of it was there.
        return connection

    def response(self, connection):
        """The status and the body of what comes, or (None, …)."""
        received = b""
        try:
            while b"\r\n\r\n" not in received:
                more = connection.recv(65536)
                if not more:
                    break
                received += more
            head, _, body = received.partition(b"\r\n\r\n")
            lines = head.decode("latin-1").split("\r\n")
            length = [line.split(":")[1] for line in lines if line.lower().startswith("content-length:")]
            while length and len(body) < int(length[0]):
                more = connection.recv(65536)
                if not more:
                    break
                body += more
        except ConnectionError:
            return None, b""
        return (int(lines[0].split()[1]), body) if lines[0] else (None, b"")

    def exchange(self, data):
        with self.open(data) as connection:
            return self.response(connection)

    def test_bodies(self):
        kept = self.server.http()
        for path, body, status, place in bodies():
            with self.subTest(path=path, body=body[:120]):
                self.count()
                # One connection for all of them: an error must not end it.
                kept.request("POST", path, body, self.server.headers())
                response = kept.getresponse()
                answer = json.loads(response.read())
                self.assertEqual(response.status, status, answer)
                if status != 200:
                    error = answer["error"]
                    self.assertEqual(error["type"], "invalid_request_error")
                    self.assertEqual(error["param"], place, error)
                    self.assertLess(len(error["message"]), 500)
        kept.close()

    def test_http(self):
        for name, (data, statuses) in HTTP.items():
            with self.subTest(name):
                status, body = self.exchange(data)
                self.assertIn(status, statuses, body)

    def test_a_stream_with_a_wrong_parameter_is_a_plain_error(self):
        body = json.dumps({"messages": HELLO, "stream": True, "temperature": -1})
        status, answer = self.exchange(sized(body))
        self.assertEqual((status, json.loads(answer)["error"]["param"]), (400, "temperature"))

    def test_early_close(self):
        stream = json.dumps({"messages": HELLO, "stream": True, "max_tokens": 1000, "ignore_eos": True})
        whole = sized()
        for data in [b"", b"P", whole[:20], whole[:60], whole[:-1], whole, sized(stream), sized(stream)[:-2]]:
            self.open(data).close()
        for data in [b"", whole[:-5], whole, sized(stream)]:
            # A reset instead of an orderly end.
            connection = self.open(data)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
        with self.open(sized(stream)) as connection:
            connection.recv(100)
        with self.open(sized()) as connection:
            # No more will come, but the answer is still wanted.
            connection.shutdown(socket.SHUT_WR)
            self.assertIn(self.response(connection)[0], (None, 200))
        self.server.wait_until_idle()

    def test_two_requests_at_once_are_both_answered(self):
        with self.open(sized() + sized()) as connection:
            self.assertEqual(self.response(connection)[0], 200)
            self.assertEqual(self.response(connection)[0], 200)

    def test_slow_requests(self):
        """Requests that never arrive, all at a time; others are served meanwhile."""
        head, whole = b"GET /health HTTP/1.1\r\nA: ", sized()
        cases = {
            "nothing": (b"", b"", (None, 408)),
            "a head by the byte": (head, b"x", (None, 408)),
            "headers without end": (head, b"x\r\nA: ", (None, 408, 431)),
            "half a head": (head, b"", (None, 408)),
            "no body": (post("Content-Length: 50\r\n", b""), b"", (408,)),
            "half a body": (whole[:-10], b"", (408,)),
            "a body by the byte": (post("Content-Length: 5000\r\n", b""), b" ", (408,)),
            "chunks by the byte": (chunked(""), b"1\r\n \r\n", (408,)),
            "a chunk that does not end": (chunked("ff\r\n"), b"x", (408,)),
            "trailers by the byte": (chunked(chunk(ANSWER) + "0\r\nA: "), b"x", (None, 400, 408)),
        }
        failures = []

        def drip(name, start, drop, statuses):
            began = time.monotonic()
            with self.open(start) as connection:
                end = began + REQUEST_TIME + 2
                try:
                    while drop and time.monotonic() < end:
                        connection.sendall(drop)
                        time.sleep(0.1)
                except ConnectionError:
                    pass
                status = self.response(connection)[0]
            took = time.monotonic() - began
            if status not in statuses or not REQUEST_TIME - 0.5 < took < REQUEST_TIME + 10:
                failures.append(f"{name}: {status} after {took:.1f} s")

        threads = [threading.Thread(target=drip, args=(name, *case)) for name, case in cases.items()]
        threads += [threading.Thread(target=drip, args=(f"idle {n}", b"", b"", (None, 408))) for n in range(50)]
        for thread in threads:
            thread.start()
        time.sleep(0.3)
        status, answer = self.server.ask(TEXT, {"prompt": "The capital of France is", "max_tokens": 4})
        self.assertEqual(status, 200)
        self.assertTrue(any(thread.is_alive() for thread in threads), "others were not served meanwhile")
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])

    def test_a_client_that_does_not_read_keeps_nobody_waiting(self):
        body = {"prompt": ["Once upon a time"] * 4, "stream": True, "max_tokens": 300, "ignore_eos": True}
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            deaf.connect((self.server.host, self.server.port))
            deaf.sendall(sized(json.dumps(body), path=TEXT))
            self.count()
            # Its answers come to their end, whether it reads them or not.
            time.sleep(0.2)
            status, _ = self.server.ask(TEXT, {"prompt": "x", "max_tokens": 4})
            self.assertEqual(status, 200)
        self.server.wait_until_idle()


if __name__ == "__main__":
    unittest.main(verbosity=2)
