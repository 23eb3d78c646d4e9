"""How long it takes from the moment a token is chosen to its bytes at the client.

The server writes the times at which tokens are chosen to a file (`--trace`), on the clock that `time.monotonic_ns` reads, too. The client
notes when bytes come. An event follows each token that completes a character, so where the two lists are of one length they match.
"""

import argparse
import json
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

from own_server import Served

# Milliseconds; the median must be below.
BOUND = 5
PROMPTS = ["The capital of France is", "Once upon a time", "Water boils when", "A list of colors: red,"]


def stream(server, prompt, tokens, arrivals):
    """Asks for a stream; adds its id, and the times at which each of its events was here."""
    body = json.dumps({"prompt": prompt, "max_tokens": tokens, "temperature": 0, "stream": True})
    head = "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\n"
    times, received, first = [], b"", None
    with server.connect() as connection:
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        while True:
            piece = connection.recv(65536)
            now = time.monotonic_ns()
            if not piece:
                break
            first = first or now
            received += piece
            times += [now] * (received.count(b"\n\n") - len(times))
    assert received.startswith(b"HTTP/1.1 200"), received
    events = [json.loads(line[6:]) for line in received.split(b"\n") if line.startswith(b"data: {")]
    texts = [event["choices"][0]["finish_reason"] is None for event in events]
    arrivals[events[0]["id"]] = {"first_byte": first, "events": [at for at, is_text in zip(times, texts) if is_text]}


def measure(clients, rounds, tokens):
    """Milliseconds from a token's choice to its arrival: of first tokens to the first byte, and of all tokens; and the trace of one answer."""
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.jsonl"
        arrivals = {}
        with Served("--parallel", str(clients), "--trace", str(trace)) as server:
            for number in range(rounds):
                asked = [(server, f"{number}. {PROMPTS[client % len(PROMPTS)]}", tokens, arrivals) for client in range(clients)]
                threads = [threading.Thread(target=stream, args=arguments) for arguments in asked]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
        chosen = {}
        for line in map(json.loads, trace.read_text().splitlines()):
            assert line["index"] == len(chosen.setdefault(line["id"], [])), "a token is missing in the trace"
            chosen[line["id"]].append(line["ns"])
    assert len(arrivals) == clients * rounds and chosen.keys() == arrivals.keys()
    first, every, lists = [], [], []
    for answer, arrived in arrivals.items():
        times = chosen[answer]
        first.append((arrived["first_byte"] - times[0]) / 1e6)
        if len(times) != len(arrived["events"]):
            # A token was a part of a character only, which leaves with the next one.
            continue
        assert all(before < after for before, after in zip(times, arrived["events"])), "bytes came before their token"
        delays = [(after - before) / 1e6 for before, after in zip(times, arrived["events"])]
        every += delays
        lists.append([((at - times[0]) / 1e6, delay) for at, delay in zip(times, delays)])
    assert len(lists) > len(first) / 2, "events do not follow tokens"
    return first, every, max(lists, key=len)


def row(name, delays):
    ordered = sorted(delays)
    quantile = lambda part: ordered[min(len(ordered) - 1, int(part * len(ordered)))]
    return f"| {name} | {len(delays)} | {statistics.median(delays):.2f} | {quantile(0.95):.2f} | {max(delays):.2f} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--tokens", type=int, default=40)
    parser.add_argument("--trace", action="store_true", help="print the tokens of one answer, too")
    arguments = parser.parse_args()
    print("| milliseconds from a token's choice to its bytes at the client | answers or tokens | median | 95% | most |\n|---|---|---|---|---|")
    wrong = []
    for clients in (1, 8):
        first, every, example = measure(clients, max(2, arguments.rounds // clients), arguments.tokens)
        who = "one client" if clients == 1 else f"{clients} clients at a time"
        print(row(f"{who}: first token to first byte", first))
        print(row(f"{who}: every token", every))
        if statistics.median(first) >= BOUND or statistics.median(every) >= BOUND:
            wrong.append(who)
        if arguments.trace and clients == 1:
            shown = example
    if arguments.trace:
        print("\n| token | chosen, ms after the first | at the client, ms later |\n|---|---|---|")
        for index, (at, delay) in enumerate(shown):
            print(f"| {index} | {at:.2f} | {delay:.2f} |")
    if wrong:
        sys.exit(f"the median is not below {BOUND} ms for {', '.join(wrong)}")


if __name__ == "__main__":
    main()
