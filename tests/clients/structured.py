"""Answers that must follow a schema, an expression or a grammar; every one is checked by an independent validator."""

import json
import re
import time
import unittest
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from pathlib import Path

import jsonschema
import openai
from pydantic import BaseModel
from served import MODEL, chat, client, complete

# Each of them has only short texts: a small model at the temperature 1 writes digits without end where it may.
SCHEMAS = [json.loads(line) for line in Path(__file__).with_name("schemas.jsonl").read_text().splitlines()]
SEEDS = range(4)


def format_of(schema):
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}


def ask(schema, seed, **options):
    question = [{"role": "user", "content": f"Answer in JSON, by this schema: {json.dumps(schema)[:200]}"}]
    options = {"messages": question, "temperature": 1, "seed": seed, "max_tokens": 400, **options}
    return chat(response_format=format_of(schema), **options).choices[0]


class Structured(unittest.TestCase):
    def test_every_schema_and_seed(self):
        start = time.monotonic()
        cases = [(schema, seed) for schema in SCHEMAS for seed in SEEDS]
        with ThreadPoolExecutor(8) as pool:
            choices = list(pool.map(lambda case: ask(*case), cases))
        checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
        for (schema, seed), choice in zip(cases, choices, strict=True):
            with self.subTest(schema=schema, seed=seed, text=choice.message.content):
                self.assertEqual(choice.finish_reason, "stop")
                value = json.loads(choice.message.content)
                jsonschema.Draft202012Validator(schema, format_checker=checker).validate(value)
        self.assertEqual(len(choices), 200)
        different = len({choice.message.content for choice in choices})
        self.assertGreater(different, 80)
        print(f"{len(choices)} answers, {different} different, in {time.monotonic() - start:.0f} s", flush=True)

    def test_pydantic(self):
        class Size(Enum):
            small = "small"
            large = "large"

        class Animal(BaseModel):
            kind: str
            legs: int
            size: Size
            wild: bool | None

        answer = client.chat.completions.parse(
            model=MODEL,
            messages=[{"role": "user", "content": "Describe a cat."}],
            response_format=Animal,
            max_tokens=300,
            temperature=0,
        )
        self.assertIsInstance(answer.choices[0].message.parsed, Animal)

    def test_stream_is_the_whole_answer_in_pieces(self):
        schema = SCHEMAS[-1]
        whole = ask(schema, 3).message.content
        stream = chat(
            messages=[{"role": "user", "content": f"Answer in JSON, by this schema: {json.dumps(schema)[:200]}"}],
            response_format=format_of(schema), temperature=1, seed=3, max_tokens=400, stream=True,
        )
        pieces = [chunk.choices[0].delta.content or "" for chunk in stream]
        self.assertEqual("".join(pieces), whole)
        self.assertGreater(len(pieces), 5)

    def test_json_object(self):
        choice = chat(response_format={"type": "json_object"}, max_tokens=500, frequency_penalty=0.5).choices[0]
        if choice.finish_reason == "stop":
            self.assertIsInstance(json.loads(choice.message.content), dict)
        self.assertTrue(choice.message.content.startswith("{"))

    def test_expressions_grammars_and_choices(self):
        text = lambda **rule: complete(max_tokens=60, temperature=1, extra_body=rule).choices[0].text
        self.assertRegex(text(guided_regex="[A-Z][a-z]{3,8}"), re.compile("^[A-Z][a-z]{3,8}$"))
        self.assertIn(text(guided_choice=["Paris", "Rome"]), ("Paris", "Rome"))
        self.assertEqual(complete(extra_body={"guided_choice": [" Paris", " Rome"]}).choices[0].text, " Paris")
        grammar = 'start: sum\nsum: NUMBER ("+" NUMBER){1,3}\nNUMBER: /[0-9]{1,3}/'
        self.assertRegex(text(guided_grammar=grammar), re.compile(r"^[0-9]{1,3}(\+[0-9]{1,3}){1,3}$"))
        self.assertRegex(text(structured_outputs={"regex": "a+b"}, logit_bias={}), re.compile("^a+b$"))

    def test_length_cuts(self):
        choice = chat(response_format=format_of(SCHEMAS[-1]), max_tokens=3).choices[0]
        self.assertEqual(choice.finish_reason, "length")

    def test_errors_name_the_parameter(self):
        for options, param in [
            ({"response_format": format_of({"type": "colour"})}, "response_format.json_schema.schema"),
            ({"response_format": {"type": "xml"}}, "response_format.type"),
            ({"extra_body": {"guided_regex": "("}}, "guided_regex"),
            ({"extra_body": {"guided_grammar": "x"}}, "guided_grammar"),
        ]:
            with self.subTest(param), self.assertRaises(openai.BadRequestError) as caught:
                chat(**options)
            self.assertEqual(caught.exception.param, param)


if __name__ == "__main__":
    unittest.main(verbosity=2)
