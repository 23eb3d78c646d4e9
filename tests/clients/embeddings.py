"""Embeddings by the official `openai` client."""

import math
import unittest

import openai
from served import MODEL, URL, client

TEXTS = ["The cat sits on the mat.", "A cat is sitting on a mat.", "Interest rates rose by half a percent in March."]


def embed(texts, **options):
    return [entry.embedding for entry in client.embeddings.create(model=MODEL, input=texts, **options).data]


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


class Embeddings(unittest.TestCase):
    def test_vectors_have_length_1_and_do_not_depend_on_others(self):
        together = embed(TEXTS)
        self.assertEqual(len(together), 3)
        for text, vector in zip(TEXTS, together, strict=True):
            self.assertAlmostEqual(math.sqrt(dot(vector, vector)), 1, places=5)
            self.assertEqual(embed(text), [vector])
        self.assertEqual(embed(TEXTS * 20), together * 20)
        # Closer to what says the same than to what says something else.
        self.assertGreater(dot(together[0], together[1]), dot(together[0], together[2]))

    def test_floats_are_those_of_base64(self):
        # Without an encoding the client asks for base64.
        for a, b in zip(embed(TEXTS[0])[0], embed(TEXTS[0], encoding_format="float")[0], strict=True):
            self.assertAlmostEqual(a, b, places=7)

    def test_tokens_and_texts(self):
        tokens = client.post(f"{URL}/tokenize", cast_to=dict, body={"content": TEXTS[0]})["tokens"]
        self.assertEqual(embed(tokens), embed(TEXTS[0]))
        self.assertEqual(embed([tokens, tokens[:3]])[0], embed(TEXTS[0])[0])

    def test_dimensions(self):
        whole, short = embed(TEXTS[0])[0], embed(TEXTS[0], dimensions=32)[0]
        self.assertEqual(len(short), 32)
        length = math.sqrt(dot(whole[:32], whole[:32]))
        for a, b in zip(whole, short, strict=False):
            self.assertAlmostEqual(a / length, b, places=5)

    def test_usage_and_errors(self):
        answer = client.embeddings.create(model=MODEL, input=TEXTS)
        self.assertEqual(answer.usage.prompt_tokens, answer.usage.total_tokens)
        self.assertGreater(answer.usage.prompt_tokens, 15)
        for options in [{"input": ""}, {"dimensions": 100_000}, {"encoding_format": "hex"}]:
            with self.subTest(options), self.assertRaises(openai.BadRequestError) as caught:
                client.embeddings.create(**{"model": MODEL, "input": "x", **options})
            self.assertEqual(caught.exception.param, next(iter(options)))


if __name__ == "__main__":
    unittest.main(verbosity=2)
