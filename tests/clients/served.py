"""What the suites have in common: the served model, and the official `openai` client for it.

`cargo xtask clients` starts a server and runs each suite with its address and key in SERVER_URL and SERVER_KEY.
"""

import os

import openai

URL = os.environ["SERVER_URL"]
KEY = os.environ["SERVER_KEY"]
client = openai.OpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0, timeout=120)
MODEL = client.models.list().data[0].id
QUESTION = [{"role": "user", "content": "Name three colors."}]


def chat(**options):
    options = {"messages": QUESTION, "max_tokens": 24, "temperature": 0, **options}
    return client.chat.completions.create(model=MODEL, **options)


def complete(prompt="The capital of France is", **options):
    options = {"max_tokens": 12, "temperature": 0, **options}
    return client.completions.create(model=MODEL, prompt=prompt, **options)
