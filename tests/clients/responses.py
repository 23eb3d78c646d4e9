"""OpenAI's newer API, by the official client."""

import unittest

import openai
from pydantic import BaseModel
from served import MODEL, QUESTION, chat, client


def ask(**options):
    options = {"input": QUESTION, "max_output_tokens": 24, "temperature": 0, **options}
    return client.responses.create(model=MODEL, **options)


class Responses(unittest.TestCase):
    def test_answer(self):
        response = ask()
        self.assertEqual(response.output_text, chat().choices[0].message.content)
        self.assertIn(response.status, ("completed", "incomplete"))
        self.assertEqual(response.usage.input_tokens, chat().usage.prompt_tokens)
        self.assertEqual(ask(input=QUESTION[0]["content"]).output_text, response.output_text)

    def test_instructions_and_the_output_sent_back(self):
        first = ask(instructions="Answer in one word.")
        follow_up = QUESTION + first.output + [{"role": "user", "content": "And one more?"}]
        second = ask(instructions="Answer in one word.", input=follow_up)
        self.assertGreater(second.usage.input_tokens, first.usage.input_tokens)

    def test_stream(self):
        whole = ask()
        events = list(ask(stream=True))
        deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
        self.assertEqual("".join(deltas), whole.output_text)
        self.assertGreater(len(deltas), 5)
        self.assertEqual([event.sequence_number for event in events], list(range(len(events))))
        self.assertEqual(events[0].type, "response.created")
        self.assertEqual(events[-1].response.output_text, whole.output_text)
        self.assertEqual(events[-1].response.status, whole.status)

    def test_cut(self):
        response = ask(max_output_tokens=2)
        self.assertEqual((response.status, response.incomplete_details.reason), ("incomplete", "max_output_tokens"))

    def test_pydantic(self):
        class Color(BaseModel):
            name: str
            warm: bool

        parsed = client.responses.parse(
            model=MODEL, input="Describe a color.", text_format=Color, max_output_tokens=200, temperature=0
        )
        self.assertIsInstance(parsed.output_parsed, Color)

    def test_errors(self):
        for options in [
            {"temperature": -1},
            {"previous_response_id": "resp-1"},
            {"tools": [{"type": "web_search"}]},
            {"input": []},
        ]:
            with self.subTest(options), self.assertRaises(openai.BadRequestError) as caught:
                ask(**options)
            self.assertEqual(caught.exception.param, next(iter(options)))


if __name__ == "__main__":
    unittest.main(verbosity=2)
