"""A server that a test starts, watches and ends.

`cargo xtask clients` names the compiler and the model in FORGE and MODEL. `forge` becomes the generated program, so the process that is
started here is the server's own.
"""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from urllib.parse import urlsplit


class Served:
    """`with Served("--parallel", "8") as server:` serves the model until the block ends, and then checks that it ended in good order."""

    def __init__(self, *options, key=None):
        self.key = key
        self.errors = tempfile.TemporaryFile()
        command = [os.environ["FORGE"], "serve", os.environ["MODEL"], "--port", "0", "--json", *options]
        environment = {name: value for name, value in os.environ.items() if name != "FORGELLM_API_KEY"}
        if key:
            environment["FORGELLM_API_KEY"] = key
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.errors, env=environment)
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"the server did not start: {self.complaints()}")
        told = json.loads(line)
        self.url, self.model = told["url"], told["model"]
        address = urlsplit(self.url)
        self.host, self.port = address.hostname, address.port

    def __enter__(self):
        return self

    def __exit__(self, failure, *_):
        try:
            self.end(failure)
        finally:
            self.errors.close()
            self.process.stdout.close()

    def end(self, failure):
        if failure:
            self.process.kill()
            self.process.wait()
            sys.stderr.write(self.complaints())
            return
        if self.process.poll() is None:
            self.terminate()
        status = self.process.wait(timeout=60)
        complaints = self.complaints()
        assert status == 0, f"the server ended with {status}: {complaints}"
        assert "panicked" not in complaints, complaints

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def complaints(self):
        """What the server has written to standard error."""
        self.errors.seek(0)
        return self.errors.read().decode(errors="replace")

    def is_running(self):
        return self.process.poll() is None

    def connect(self, timeout=30):
        """A plain socket."""
        return socket.create_connection((self.host, self.port), timeout=timeout)

    def http(self, timeout=120):
        return http.client.HTTPConnection(self.host, self.port, timeout=timeout)

    def headers(self):
        key = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        return {"Content-Type": "application/json", **key}

    def ask(self, path, body, timeout=120):
        """Status and JSON of a request."""
        connection = self.http(timeout)
        try:
            connection.request("POST", path, json.dumps(body), self.headers())
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def get(self, path):
        connection = self.http()
        try:
            connection.request("GET", path, headers=self.headers())
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def metrics(self):
        """All metrics, by name and labels."""
        lines = [line for line in self.get("/metrics")[1].splitlines() if not line.startswith("#")]
        return {name.removeprefix("forgellm_"): float(value) for name, value in map(str.split, lines)}

    def wait_until_idle(self, seconds=20):
        """Until no answer runs or waits."""
        end = time.monotonic() + seconds
        while True:
            metrics = self.metrics()
            if not metrics["running_sequences"] and not metrics["queue_length"]:
                return metrics
            assert time.monotonic() < end, f"answers that nobody waits for are still worked on: {metrics}"
            time.sleep(0.02)

    def resident(self):
        """Bytes of memory that the process has now."""
        with open(f"/proc/{self.process.pid}/status") as status:
            line = next(line for line in status if line.startswith("VmRSS"))
        return int(line.split()[1]) * 1024
