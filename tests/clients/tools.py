"""Calls of tools by the official `openai` and `anthropic` clients; for a model whose chat template knows tools."""

import json
import unittest

import anthropic
import jsonschema
from served import KEY, MODEL, URL, chat

WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 30}, "unit": {"enum": ["celsius", "fahrenheit"]}},
    "required": ["city", "unit"],
    "additionalProperties": False,
}
ADD = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
    "required": ["a", "b"],
    "additionalProperties": False,
}
SCHEMAS = {"get_weather": WEATHER, "add": ADD}


def function(name, description):
    return {"type": "function", "function": {"name": name, "description": description, "parameters": SCHEMAS[name]}}


TOOLS = [function("get_weather", "The weather of a city now."), function("add", "The sum of two numbers.")]
QUESTION = [{"role": "user", "content": "What is the weather in Paris, in celsius?"}]


def ask(**options):
    options = {"messages": QUESTION, "tools": TOOLS, "max_tokens": 200, **options}
    return chat(**options)


class Tools(unittest.TestCase):
    def check(self, calls):
        for call in calls:
            self.assertEqual(call.type, "function")
            jsonschema.validate(json.loads(call.function.arguments), SCHEMAS[call.function.name])

    def test_required_and_named(self):
        for seed in range(4):
            for choice in ["required", {"type": "function", "function": {"name": "add"}}]:
                answer = ask(tool_choice=choice, temperature=1, seed=seed, parallel_tool_calls=False).choices[0]
                self.assertEqual((answer.finish_reason, answer.message.content), ("tool_calls", None))
                self.assertEqual(len(answer.message.tool_calls), 1)
                self.check(answer.message.tool_calls)
                if choice != "required":
                    self.assertEqual(answer.message.tool_calls[0].function.name, "add")

    def test_the_right_tool_with_the_right_arguments(self):
        call = ask(tool_choice="required").choices[0].message.tool_calls[0].function
        self.assertEqual((call.name, json.loads(call.arguments)), ("get_weather", {"city": "Paris", "unit": "celsius"}))

    def test_free_choice(self):
        for seed in range(4):
            answer = ask(temperature=0.8, seed=seed).choices[0]
            calls = answer.message.tool_calls or []
            self.check(calls if answer.finish_reason != "length" else calls[:-1])
            self.assertEqual(answer.finish_reason == "tool_calls", bool(calls) and answer.finish_reason != "length")
            self.assertNotIn("<tool_call>", answer.message.content or "")

    def test_stream(self):
        whole = ask(tool_choice="required", parallel_tool_calls=False).choices[0].message.tool_calls[0].function
        names, arguments, reasons = [], "", []
        for chunk in ask(tool_choice="required", parallel_tool_calls=False, stream=True):
            for choice in chunk.choices:
                reasons.append(choice.finish_reason)
                for call in choice.delta.tool_calls or []:
                    names.append(call.function.name)
                    arguments += call.function.arguments or ""
        self.assertEqual(([name for name in names if name], arguments), ([whole.name], whole.arguments))
        self.assertGreater(len(names), 5)
        self.assertEqual(reasons[-1], "tool_calls")

    def test_results_are_sent_back(self):
        message = ask(tool_choice="required", parallel_tool_calls=False).choices[0].message
        result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": '{"temperature": 21}'}
        answer = ask(messages=QUESTION + [message, result])
        self.assertIn("21", answer.choices[0].message.content)

    def test_none(self):
        answer = ask(tool_choice="none", max_tokens=5)
        self.assertLess(answer.usage.prompt_tokens, ask(max_tokens=5).usage.prompt_tokens / 2)

    def test_anthropic(self):
        client = anthropic.Anthropic(base_url=URL, api_key=KEY, max_retries=0, timeout=120)
        tools = [{"name": name, "description": "A tool.", "input_schema": schema} for name, schema in SCHEMAS.items()]
        options = {"model": MODEL, "tools": tools, "max_tokens": 200, "extra_body": {"temperature": 0}}
        options["tool_choice"] = {"type": "tool", "name": "get_weather", "disable_parallel_tool_use": True}
        with client.messages.stream(messages=QUESTION, **options) as stream:
            message = stream.get_final_message()
        self.assertEqual((message.stop_reason, message.content[0].name), ("tool_use", "get_weather"))
        jsonschema.validate(message.content[0].input, WEATHER)
        result = [{"type": "tool_result", "tool_use_id": message.content[0].id, "content": "21 degrees, sunny"}]
        block = {"type": "tool_use", "id": message.content[0].id, "name": "get_weather", "input": message.content[0].input}
        follow_up = [{"role": "assistant", "content": [block]}, {"role": "user", "content": result}]
        answer = client.messages.create(messages=QUESTION + follow_up, **{**options, "tool_choice": {"type": "none"}})
        self.assertEqual(answer.content[0].type, "text")


if __name__ == "__main__":
    unittest.main(verbosity=2)
