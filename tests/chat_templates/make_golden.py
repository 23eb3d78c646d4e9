"""Renders every template here with Hugging Face transformers, and writes what comes out to golden.json.

usage: make_golden.py
Needs: transformers, jinja2 (no torch).
"""

import json
from datetime import UTC, datetime
from pathlib import Path

import jinja2
import transformers
from transformers.utils.chat_template_utils import render_jinja_template

FOLDER = Path(__file__).parent
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather at a place, in °C or \"°F\".",
        "parameters": {
            "type": "object",
            "properties": {
                "place": {"type": "string", "description": "A city's name"},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
                "days": {"type": "array", "items": {"type": "integer"}},
                "options": {"type": "object", "properties": {"exact": {"type": "boolean"}}, "required": []},
            },
            "required": ["place"],
        },
    },
}
CLOCK = {"type": "function", "function": {"name": "clock", "description": "The time.", "parameters": {"type": "object", "properties": {}}}}


# Of the codes of strftime, those that do not depend on more than the date.
CODES = ["%" + letter for letter in "aAwdbBmyYHIMpSjUWcxXuCDeFhrRTnt%zZ"] + ["%-d", "%-m", "%-H", "%-I", "%-M", "%-j", "%-e", "%d %B %Y, %-I:%M %p"]
SECONDS = [0, 86399, 951827696, 1078012800, 1230768000, 1262304000, 1500000000, 1735603200, 1767225599, 1798761599, 2147483648, 4107542400]


def date(seconds, code):
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).strftime(code)


def message(role, content, **more):
    return {"role": role, "content": content, **more}


def call(number, name, **arguments):
    return {"id": f"call{number:05}", "type": "function", "function": {"name": name, "arguments": arguments}}


CHATS = {
    "plain": ([message("user", "\n Hello, World! \n ")], None, True),
    "turns": (
        [message("system", "Be brief."), message("user", "Hi <b>&amp; 'you'"), message("assistant", "  Hello!  "), message("user", "Zwölf\nBoxkämpfer 🥊")],
        None,
        True,
    ),
    "ended": ([message("user", "a,b, c"), message("assistant", "<think>\nhm\n</think>\n\nd")], None, False),
    "long": (
        [message(role, f"{role} {number}") for number in range(3) for role in ("user", "assistant")] + [message("user", "<tool_response>x</tool_response>")],
        None,
        True,
    ),
    "tools": ([message("system", "Use tools."), message("user", "Weather?")], [WEATHER, CLOCK], True),
    "called": (
        [
            message("user", "Weather in Köln and Rome?"),
            message("assistant", "", tool_calls=[call(1, "get_weather", place="Köln", days=[1, 2], options={"exact": True}), call(2, "clock")]),
            message("tool", "{\"degrees\": 20.5}", tool_call_id="call00001"),
            message("tool", "12:00", tool_call_id="call00002"),
            message("assistant", "<think>\nIt is warm.\n</think>\n\n20.5 degrees.\n"),
        ],
        [WEATHER, CLOCK],
        True,
    ),
    "wrong order": ([message("assistant", "Hi"), message("system", "No."), message("assistant", "Hi")], None, True),
}


def render(source, messages, tools, add_generation_prompt):
    try:
        rendered, _ = render_jinja_template([messages], tools, None, source, add_generation_prompt=add_generation_prompt, **TOKENS)
        return {"prompt": rendered[0]}
    except jinja2.TemplateError as error:
        return {"error": error.message}


def main():
    golden = {
        "oracle": f"transformers {transformers.__version__}, jinja2 {jinja2.__version__}",
        "tokens": TOKENS,
        "chats": {name: {"messages": chat[0], "tools": chat[1], "add_generation_prompt": chat[2]} for name, chat in CHATS.items()},
        "dates": [{"seconds": seconds, "formats": {code: date(seconds, code) for code in CODES}} for seconds in SECONDS],
        "templates": {},
    }
    for file in sorted(FOLDER.glob("*.jinja")):
        source = file.read_text()
        golden["templates"][file.stem] = {name: render(source, *chat) for name, chat in CHATS.items()}
    (FOLDER / "golden.json").write_text(json.dumps(golden, ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    main()
