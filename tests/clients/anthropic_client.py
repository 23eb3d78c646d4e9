"""The official `anthropic` client, unchanged, against a served model."""

import unittest

import anthropic
from served import KEY, MODEL, QUESTION, URL, chat

client = anthropic.Anthropic(base_url=URL, api_key=KEY, max_retries=0, timeout=120)
# Newer clients have no name for it.
GREEDY = {"temperature": 0}


def ask(**options):
    options = {"messages": QUESTION, "max_tokens": 24, "extra_body": GREEDY, **options}
    return client.messages.create(model=MODEL, **options)


class Messages(unittest.TestCase):
    def test_answer(self):
        message = ask()
        self.assertEqual((message.type, message.role, message.model), ("message", "assistant", MODEL))
        self.assertEqual(message.content[0].text, chat().choices[0].message.content)
        self.assertIn(message.stop_reason, ("end_turn", "max_tokens"))
        self.assertEqual(message.usage.input_tokens, chat().usage.prompt_tokens)

    def test_system_and_the_answer_sent_back(self):
        first = ask(system="Answer in one word.")
        blocks = [{"type": "text", "text": block.text} for block in first.content]
        follow_up = QUESTION + [{"role": "assistant", "content": blocks}, {"role": "user", "content": "And one more?"}]
        second = ask(system=[{"type": "text", "text": "Answer in one word."}], messages=follow_up)
        self.assertGreater(second.usage.input_tokens, first.usage.input_tokens)

    def test_stop_sequences(self):
        whole = ask(max_tokens=40).content[0].text
        stopped = ask(max_tokens=40, stop_sequences=["never in it", whole[6:9]])
        self.assertEqual((stopped.stop_reason, stopped.stop_sequence), ("stop_sequence", whole[6:9]))
        self.assertEqual(stopped.content[0].text, whole[: whole.index(whole[6:9])])

    def test_stream(self):
        whole = ask()
        options = {"messages": QUESTION, "max_tokens": 24, "extra_body": GREEDY}
        with client.messages.stream(model=MODEL, **options) as stream:
            pieces = list(stream.text_stream)
            final = stream.get_final_message()
        self.assertEqual("".join(pieces), whole.content[0].text)
        self.assertGreater(len(pieces), 5)
        self.assertEqual(final.content[0].text, whole.content[0].text)
        self.assertEqual((final.stop_reason, final.usage.output_tokens), (whole.stop_reason, whole.usage.output_tokens))
        kinds = [event.type for event in ask(stream=True)]
        self.assertEqual((kinds[0], kinds[-1]), ("message_start", "message_stop"))

    def test_errors(self):
        with self.assertRaises(anthropic.BadRequestError) as caught:
            ask(extra_body={"temperature": -1})
        self.assertEqual(caught.exception.body["error"]["type"], "invalid_request_error")
        self.assertIn("temperature", caught.exception.message)
        with self.assertRaises(anthropic.NotFoundError):
            client.messages.create(model="claude", messages=QUESTION, max_tokens=5)
        with self.assertRaises(anthropic.AuthenticationError):
            anthropic.Anthropic(base_url=URL, api_key="wrong", max_retries=0).messages.create(
                model=MODEL, messages=QUESTION, max_tokens=5
            )


if __name__ == "__main__":
    unittest.main(verbosity=2)
