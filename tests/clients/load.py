"""Many clients at a time, of which a third leaves in the middle of its answers.

Every answer must be the one that the same request gets alone; afterwards no sequence may be left and memory must not have grown. Then a
server is told to end while it answers: what it has begun it finishes.

`load.py` takes 10 seconds of load, as in continuous integration; `load.py --seconds 60 --clients 64` is the full form.
"""

import argparse
import json
import random
import statistics
import threading
import time

from own_server import Served

TOPICS = ["the sea", "a clock maker", "prime numbers", "two foxes", "winter in the north", "bread", "an old map", "light", "rivers", "chess"]
FILLER = "It was a quiet morning, and the people of the village went about their work as they always had. "
PARALLEL, KEPT = 32, 16
# Tokens that one sequence may hold; small, so that the cache is full soon and must not grow any more.
CONTEXT = 512


def requests():
    """Paths and bodies, of all lengths; greedy, so that each has one right answer."""
    rng = random.Random(1)
    for number in range(48):
        topic = TOPICS[number % len(TOPICS)]
        text = FILLER * rng.choice([0, 0, 1, 3, 8, 14]) + f"Tell me {number + 2} things about {topic}."
        common = {"temperature": 0, "max_tokens": rng.choice([1, 4, 12, 24, 48, 96]), "ignore_eos": rng.random() < 0.5}
        if number % 2:
            yield "/v1/chat/completions", {"messages": [{"role": "user", "content": text}], **common}
        else:
            yield "/v1/completions", {"prompt": text, **common}


class Broken(Exception):
    """The connection ended before the answer did."""


def answer(server, path, body, stream=False, leave_after=None):
    """The text of an answer and whether it is complete. With `leave_after`, the connection is closed after so many bytes of it."""
    if not stream:
        status, whole = server.ask(path, body)
        if status != 200:
            raise Broken(f"{status}: {whole}")
        choice = whole["choices"][0]
        return choice["message"]["content"] if "message" in choice else choice["text"], True
    connection = server.http()
    try:
        connection.request("POST", path, json.dumps({**body, "stream": True}), server.headers())
        response = connection.getresponse()
        received = b""
        if response.status == 200:
            while leave_after is None or len(received) < leave_after:
                piece = response.read1(65536)
                if not piece:
                    break
                received += piece
        else:
            raise Broken(f"{response.status}: {response.read()}")
    finally:
        connection.close()
    text, ends = "", 0
    for line in received.split(b"\n"):
        # The last line may be half there when we leave.
        if line.startswith(b"data: {") and line.endswith(b"}"):
            event = json.loads(line[6:])
            if "error" in event:
                raise Broken(str(event))
            choice = event["choices"][0]
            text += choice["delta"].get("content", "") if "delta" in choice else choice["text"]
            ends += choice["finish_reason"] is not None
    return text, ends == 1 and received.endswith(b"data: [DONE]\n\n")


class Client(threading.Thread):
    """Asks until it is told to stop."""

    def __init__(self, server, cases, seed, until):
        super().__init__()
        self.server, self.cases, self.until = server, cases, until
        self.rng = random.Random(seed)
        self.whole = self.left = 0
        self.wrong = []

    def run(self):
        while time.monotonic() < self.until:
            path, body, expected = self.rng.choice(self.cases)
            leave_after = self.rng.choice([0, 1, 300, 1000, 3000]) if self.rng.random() < 1 / 3 else None
            stream = leave_after is not None or self.rng.random() < 0.5
            try:
                text, is_complete = answer(self.server, path, body, stream, leave_after)
            except (OSError, Broken, ValueError) as error:
                self.wrong.append(f"{body}: {error!r}")
                continue
            if leave_after is None:
                self.whole += 1
                right = is_complete and text == expected
            else:
                self.left += 1
                right = expected.startswith(text)
            if not right:
                self.wrong.append(f"{body} stream={stream}:\n  {text!r}\n  instead of\n  {expected!r}")


def speed(server, cases, clients, seconds, on_sample=lambda: None):
    """Runs clients; tokens of answers per second, and the clients."""
    before, start = server.metrics(), time.monotonic()
    running = [Client(server, cases, seed, start + seconds) for seed in range(clients)]
    for client in running:
        client.start()
    while time.monotonic() < start + seconds:
        time.sleep(0.25)
        on_sample()
    # Answers under way at the end are finished, and count.
    for client in running:
        client.join()
    after, took = server.wait_until_idle(), time.monotonic() - start
    wrong = [text for client in running for text in client.wrong]
    assert not wrong, f"{len(wrong)} wrong answers:\n" + "\n".join(wrong[:5])
    counted = lambda metrics: sum(value for name, value in metrics.items() if name.startswith("answers_total"))
    return {
        "tokens": (after["generated_tokens_total"] - before["generated_tokens_total"]) / took,
        "whole": sum(client.whole for client in running),
        "left": sum(client.left for client in running),
        "counted": counted(after) - counted(before),
        "metrics": after,
    }


def load(cases, clients, seconds):
    limits = ["--parallel", PARALLEL, "--keep", KEPT, "--queue", clients, "--context", CONTEXT]
    with Served(*map(str, limits)) as server:
        cases[:] = [(path, body, answer(server, path, body)[0]) for path, body in cases]
        alone = speed(server, cases, 1, max(4, seconds / 6))
        # Memory is taken as it is first used, so it grows until every sequence was once as long as it can be.
        speed(server, cases, clients, max(4, seconds / 6))
        resident = []
        many = speed(server, cases, clients, seconds, lambda: resident.append(server.resident()))
        metrics = many["metrics"]
        assert metrics["kept_sequences"] <= PARALLEL + KEPT, metrics
        assert metrics['answers_total{outcome="failed"}'] == 0, metrics
        assert many["counted"] <= many["whole"] + many["left"], "an answer was counted twice"
        assert many["left"] > many["whole"] / 4, "a third of the clients was to leave"
        megabytes = [size / 1e6 for size in resident]
        half = len(megabytes) // 2
        print(f"{clients} clients for {seconds} s: {many['whole']} answers, all as alone; {many['left']} dropped; no sequence is left")
        print(f"tokens/s: {alone['tokens']:.0f} for one client, {many['tokens']:.0f} for all, {many['tokens'] / alone['tokens']:.2f} times as many")
        print(f"resident memory: {megabytes[0]:.1f} MB after warm-up, {statistics.median(megabytes):.1f} MB median, {megabytes[-1]:.1f} MB at the end")
        # What is left is the allocator's: buffers of connections come and go.
        growth = max(megabytes[half:]) - max(megabytes[:half])
        assert growth < 4 + megabytes[0] / 100, f"memory grew by {growth:.1f} MB in the second half: {megabytes}"


def terminate(cases, clients):
    """SIGTERM while all clients wait for answers."""
    outcomes, lock = [], threading.Lock()
    with Served("--parallel", "8", "--queue", str(clients), "--context", str(CONTEXT)) as server:

        def ask(seed):
            rng = random.Random(seed)
            while True:
                path, body, expected = rng.choice(cases)
                try:
                    text, is_complete = answer(server, path, body, rng.random() < 0.5)
                except (OSError, Broken) as error:
                    outcome = "refused" if "shutting_down" in str(error) or isinstance(error, OSError) else f"{body}: {error!r}"
                else:
                    outcome = "whole" if is_complete and text == expected else f"{body}: {text!r} instead of {expected!r}"
                with lock:
                    outcomes.append((outcome, time.monotonic()))
                if outcome != "whole":
                    return

        threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(clients)]
        for thread in threads:
            thread.start()
        time.sleep(1.5)
        looked = time.monotonic()
        metrics = server.metrics()
        begun = metrics["running_sequences"] + metrics["queue_length"]
        told = time.monotonic()
        server.terminate()
        for thread in threads:
            thread.join()
        server.process.wait(timeout=60)
    whole = [at for outcome, at in outcomes if outcome == "whole"]
    wrong = [outcome for outcome, _ in outcomes if outcome not in ("whole", "refused")]
    afterwards = sum(at > told for at in whole)
    assert not wrong, f"{len(wrong)} wrong answers:\n" + "\n".join(wrong[:5])
    assert begun > 0 and afterwards > 0, "the server had nothing to do when it was told to end"
    finished = sum(at > looked for at in whole)
    assert finished >= begun, f"{begun} answers were begun, and {finished} finished"
    print(f"SIGTERM with {begun:.0f} answers begun: {afterwards} finished after it, all whole; the server ended {max(whole) - told:.1f} s later")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--clients", type=int, default=64)
    arguments = parser.parse_args()
    cases = list(requests())
    load(cases, arguments.clients, arguments.seconds)
    terminate(cases, arguments.clients)


if __name__ == "__main__":
    main()
