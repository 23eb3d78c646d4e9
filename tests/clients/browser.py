"""Chromium without a window, with what a test of the chat page does in it."""

import tempfile
import time

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

FLAGS = (
    "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update --disable-sync "
    "--disable-dev-shm-usage --hide-scrollbars --force-color-profile=srgb"
).split()

# Stands in for the server's answer: each text of `pieces` is an event, and the request is kept.
ANSWER_WITH = """
const [pieces, ending, delay] = arguments;
window.trueFetch ??= window.fetch;
window.fetch = async (path, options) => {
  window.asked = JSON.parse(options.body);
  const encoder = new TextEncoder();
  const event = (data) => encoder.encode(`data: ${JSON.stringify(data)}\\n\\n`);
  const stream = new ReadableStream({
    async start(controller) {
      for (const content of pieces) {
        controller.enqueue(event({ choices: [{ delta: { content }, finish_reason: null }] }));
        await new Promise((resolve) => setTimeout(resolve, delay));
      }
      if (ending === "done") controller.enqueue(encoder.encode("data: [DONE]\\n\\n"));
      else if (ending) controller.enqueue(event(ending));
      controller.close();
    },
  });
  return new Response(stream, { headers: { "Content-Type": "text/event-stream" } });
};
"""


class Browser:
    """`with Browser() as browser:`; gone afterwards, with everything that it kept."""

    def __enter__(self):
        self.profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        options = Options()
        options.binary_location = "/usr/bin/chromium"
        for flag in [*FLAGS, f"--user-data-dir={self.profile.name}", "--window-size=1200,800"]:
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
        return self

    def __exit__(self, *_):
        self.driver.quit()
        self.profile.cleanup()

    def one(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def press(self, *keys):
        """Keys for whatever has the focus."""
        self.driver.switch_to.active_element.send_keys(*keys)

    def until(self, condition, what, seconds=30):
        end = time.monotonic() + seconds
        while not (value := condition()):
            assert time.monotonic() < end, f"after {seconds} s still not: {what}"
            time.sleep(0.02)
        return value

    def color_scheme(self, scheme):
        """What the system prefers: `light` or `dark`."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def say(self, text):
        self.one("#text").send_keys(text, Keys.ENTER)

    def state(self):
        return self.one("#state").text

    def answers(self):
        return self.all(".turn.assistant")

    def answer(self):
        """The text of the last answer."""
        return self.run("return [...document.querySelectorAll('.turn.assistant .text')].at(-1)?.textContent ?? ''")

    def is_answering(self):
        return bool(self.all(".turn[aria-busy]"))

    def answer_with(self, pieces, ending="done", delay=0):
        self.run(ANSWER_WITH, pieces, ending, delay)

    def answer_truly(self):
        self.run("window.fetch = window.trueFetch ?? window.fetch;")

    def complaints(self):
        """Errors of scripts and violations of the policy."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE" and "status of 401" not in entry["message"]]
