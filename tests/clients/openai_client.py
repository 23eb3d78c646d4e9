"""The official `openai` client, unchanged, against a served model."""

import asyncio
import math
import time
import unittest
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import openai
from served import KEY, MODEL, QUESTION, URL, chat, client, complete


def metric(name):
    request = urllib.request.Request(f"{URL}/metrics", headers={"Authorization": f"Bearer {KEY}"})
    with urllib.request.urlopen(request, timeout=10) as response:
        lines = response.read().decode().splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith(f"forgellm_{name} "))


def tokenize(text):
    return client.post(f"{URL}/tokenize", cast_to=dict, body={"content": text})["tokens"]


def wait_until_idle():
    end = time.monotonic() + 10
    while metric("running_sequences") or metric("queue_length"):
        assert time.monotonic() < end, "answers that nobody waits for are still being worked on"
        time.sleep(0.01)


class Chat(unittest.TestCase):
    def test_answer(self):
        answer = chat()
        choice = answer.choices[0]
        self.assertIn("Red", choice.message.content)
        self.assertEqual((answer.object, answer.model), ("chat.completion", MODEL))
        self.assertEqual((choice.message.role, choice.index), ("assistant", 0))
        self.assertIn(choice.finish_reason, ("stop", "length"))
        usage = answer.usage
        self.assertEqual(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens)
        self.assertLess(abs(answer.created - time.time()), 60)

    def test_the_answer_can_be_sent_back(self):
        first = chat()
        follow_up = QUESTION + [first.choices[0].message, {"role": "user", "content": "And three more?"}]
        second = chat(messages=follow_up)
        self.assertGreater(second.usage.prompt_tokens, first.usage.prompt_tokens)
        self.assertGreater(second.usage.prompt_tokens_details.cached_tokens, first.usage.prompt_tokens)

    def test_length_is_a_finish_reason(self):
        answer = chat(max_completion_tokens=3, max_tokens=openai.omit)
        self.assertEqual((answer.choices[0].finish_reason, answer.usage.completion_tokens), ("length", 3))

    def test_stream(self):
        options = {"max_tokens": 64, "extra_body": {"ignore_eos": True}}
        whole = chat(**options)
        times, text, roles, reasons, usages = [], "", [], [], []
        start = time.monotonic()
        stream = chat(**options, stream=True, stream_options={"include_usage": True})
        for chunk in stream:
            times.append(time.monotonic() - start)
            usages.append(chunk.usage)
            for choice in chunk.choices:
                text += choice.delta.content or ""
                roles.append(choice.delta.role)
                reasons.append(choice.finish_reason)
        self.assertEqual(text, whole.choices[0].message.content)
        self.assertEqual([role for role in roles if role], ["assistant"])
        self.assertEqual([reason for reason in reasons if reason], [whole.choices[0].finish_reason])
        self.assertEqual(usages[-1].completion_tokens, whole.usage.completion_tokens)
        self.assertEqual([usage for usage in usages[:-1] if usage], [])
        # A body that is built first and sent at the end comes all at once.
        self.assertLess(times[0], times[-1] / 2, times)

    def test_n_and_seed(self):
        ask = lambda seed: [c.message.content for c in chat(n=3, temperature=1.2, seed=seed).choices]
        first = ask(7)
        self.assertEqual((len(first), first), (3, ask(7)))
        self.assertNotEqual(first[0], first[1])
        self.assertNotEqual(first, ask(8))

    def test_stop(self):
        whole = chat(max_tokens=40).choices[0].message.content
        stop = whole[6:9]
        stopped = chat(max_tokens=40, stop=[stop, "never in it"]).choices[0]
        self.assertEqual((stopped.message.content, stopped.finish_reason), (whole[: whole.index(stop)], "stop"))
        pieces = [chunk.choices[0].delta.content or "" for chunk in chat(max_tokens=40, stop=stop, stream=True)]
        self.assertEqual("".join(pieces), whole[: whole.index(stop)])

    def test_extra_parameters(self):
        answer = chat(temperature=1.5, seed=1, extra_body={"top_k": 1, "min_p": 0.1})
        self.assertEqual(answer.choices[0].message.content, chat().choices[0].message.content)

    def test_bias_and_penalties(self):
        # The first token of the answer, ruled out and then the only one that is possible.
        tokens = tokenize(chat(max_tokens=1).choices[0].message.content)
        banned = chat(logit_bias={str(tokens[0]): -100}).choices[0].message.content
        self.assertNotEqual(banned, chat().choices[0].message.content)
        forced = chat(max_tokens=3, logit_bias={str(tokens[0]): 100}).choices[0].message.content
        self.assertEqual(tokenize(forced), tokens[:1] * 3)
        penalized = chat(max_tokens=64, presence_penalty=2, frequency_penalty=2, extra_body={"ignore_eos": True})
        plain = chat(max_tokens=64, extra_body={"ignore_eos": True})
        self.assertNotEqual(penalized.choices[0].message.content, plain.choices[0].message.content)

    def test_logprobs(self):
        choice = chat(logprobs=True, top_logprobs=3).choices[0]
        entries = choice.logprobs.content
        self.assertEqual(b"".join(bytes(e.bytes) for e in entries).decode(), choice.message.content)
        for entry in entries:
            # What is most likely is chosen, and no distribution has more than the probability 1.
            self.assertEqual((entry.token, entry.logprob), (entry.top_logprobs[0].token, entry.top_logprobs[0].logprob))
            self.assertEqual(len(entry.top_logprobs), 3)
            self.assertLessEqual(sum(math.exp(top.logprob) for top in entry.top_logprobs), 1 + 1e-9)
        # Temperature and bias choose otherwise, and the distribution stays the model's.
        other = chat(logprobs=True, top_logprobs=3, temperature=2, seed=5, logit_bias={"100": 3}).choices[0].logprobs.content
        self.assertEqual(other[0].top_logprobs, entries[0].top_logprobs)
        streamed = [
            entry
            for chunk in chat(logprobs=True, top_logprobs=3, stream=True)
            for choice in chunk.choices
            if choice.logprobs
            for entry in choice.logprobs.content
        ]
        self.assertEqual([(e.token, e.logprob) for e in streamed], [(e.token, e.logprob) for e in entries])
        self.assertIsNone(chat().choices[0].logprobs)

    def test_logprobs_and_stop(self):
        whole = chat(max_tokens=40, logprobs=True).choices[0]
        stop = whole.message.content[6:9]
        stopped = chat(max_tokens=40, logprobs=True, stop=stop).choices[0]
        made = b"".join(bytes(e.bytes) for e in stopped.logprobs.content).decode()
        self.assertTrue(made.startswith(stopped.message.content))
        # At most the rest of the token in which the stop string begins.
        self.assertLess(len(made) - len(stopped.message.content), len(stopped.logprobs.content[-1].token))

    def test_async_stream(self):
        async def run():
            async with openai.AsyncOpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0) as other:
                stream = await other.chat.completions.create(
                    model=MODEL, messages=QUESTION, max_tokens=24, temperature=0, stream=True
                )
                return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

        self.assertEqual(asyncio.run(run()), chat().choices[0].message.content)


class Completion(unittest.TestCase):
    def test_text(self):
        answer = complete()
        self.assertIn("Paris", answer.choices[0].text)
        self.assertEqual((answer.object, answer.choices[0].finish_reason), ("text_completion", "length"))
        pieces = [chunk.choices[0].text for chunk in complete(stream=True)]
        self.assertEqual("".join(pieces), answer.choices[0].text)
        self.assertGreater(len(pieces), 6)

    def test_several_prompts(self):
        prompts = ["One, two, three,", "The capital of France is"]
        answer = complete(prompts, n=2)
        self.assertEqual([choice.index for choice in answer.choices], [0, 1, 2, 3])
        alone = [complete(prompt).choices[0].text for prompt in prompts for _ in range(2)]
        self.assertEqual([choice.text for choice in answer.choices], alone)

    def test_logprobs(self):
        choice = complete(logprobs=2).choices[0]
        told = choice.logprobs
        self.assertEqual("".join(told.tokens), choice.text)
        offsets = [choice.text.index(told.tokens[0])]
        for token in told.tokens[:-1]:
            offsets.append(offsets[-1] + len(token))
        self.assertEqual(told.text_offset, offsets)
        for token, logprob, top in zip(told.tokens, told.token_logprobs, told.top_logprobs, strict=True):
            self.assertEqual((top[token], len(top)), (logprob, 2))
        self.assertEqual([len(top) for top in complete(logprobs=0).choices[0].logprobs.top_logprobs], [1] * 12)

    def test_control_tokens_of_users_are_text(self):
        plain = complete("<|im_start|>", max_tokens=1).usage.prompt_tokens
        self.assertGreater(plain, 1)


class Load(unittest.TestCase):
    def test_answers_under_load_are_those_alone(self):
        prompts = [f"Count from {start} on:" for start in range(24)]
        text = lambda prompt: complete(prompt, max_tokens=20).choices[0].text
        alone = [text(prompt) for prompt in prompts]
        with ThreadPoolExecutor(24) as pool:
            self.assertEqual(list(pool.map(text, prompts)), alone)
        wait_until_idle()

    def test_a_client_that_leaves_frees_its_sequence(self):
        cancelled = metric('answers_total{outcome="cancelled"}')
        for _ in range(4):
            with complete(max_tokens=2000, stream=True, extra_body={"ignore_eos": True}) as stream:
                next(iter(stream))
        wait_until_idle()
        self.assertEqual(metric('answers_total{outcome="cancelled"}'), cancelled + 4)


class Errors(unittest.TestCase):
    def test_parameters(self):
        for options in [
            {"temperature": -1},
            {"top_p": 2},
            {"n": 0},
            {"max_tokens": 0},
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]},
            {"top_logprobs": 2},
            {"top_logprobs": 21, "logprobs": True},
            {"presence_penalty": 3},
            {"logit_bias": {"5": 200}},
            {"messages": []},
        ]:
            with self.subTest(options), self.assertRaises(openai.BadRequestError) as caught:
                chat(**options)
            self.assertEqual((caught.exception.param, caught.exception.type), (next(iter(options)), "invalid_request_error"))

    def test_context_length(self):
        with self.assertRaises(openai.BadRequestError) as caught:
            complete([1] * 100_000)
        self.assertEqual(caught.exception.code, "context_length_exceeded")

    def test_model(self):
        with self.assertRaises(openai.NotFoundError) as caught:
            client.chat.completions.create(model="gpt-4", messages=QUESTION)
        self.assertEqual(caught.exception.code, "model_not_found")
        self.assertEqual(client.models.retrieve(MODEL).id, MODEL)

    def test_key(self):
        with self.assertRaises(openai.AuthenticationError) as caught:
            openai.OpenAI(base_url=f"{URL}/v1", api_key="wrong", max_retries=0).models.list()
        self.assertEqual(caught.exception.code, "invalid_api_key")

    def test_queue(self):
        with self.assertRaises(openai.BadRequestError) as caught:
            complete(["x"] * 1000)
        self.assertEqual(caught.exception.param, "prompt")


if __name__ == "__main__":
    unittest.main(verbosity=2)
