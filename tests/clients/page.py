"""The chat page of a served model in a browser.

`cargo xtask page` runs it; `--screenshots FOLDER` writes what docs/ shows.
"""

import argparse
import sys
import unittest
from pathlib import Path

from browser import Browser
from selenium.webdriver.common.keys import Keys
from own_server import Served

KEY = "key-of-the-test"
LONG = "Write a long story about a lighthouse keeper."
HOSTILE = """\
<script>window.hacked = 1</script><img src=x onerror="window.hacked = 1"><svg onload="window.hacked = 1"></svg>

[click](javascript:window.hacked=1) [data](data:text/html,<script>window.hacked=1</script>) <javascript:window.hacked=1>
![image](https://evil.example/x.png) [split](java
script:window.hacked=1) [vb](VBSCRIPT:x) [file](file:///etc/passwd) [<b onclick="window.hacked=1">bold</b>](https://example.org/"onmouseover="window.hacked=1)

```html"><script>window.hacked = 1</script>
</code></pre><script>window.hacked = 1</script>
```

| <iframe src="javascript:window.hacked=1"> | b |
|---|---|
| <style>* { display: none }</style> | [x](https://example.org/?a="b") |
"""
# Markdown, and the elements that it becomes; text nodes in quotes.
MARKDOWN = [
    ("Hello *there*, **bold** and `co*de*`.", "p('Hello ' em('there') ', ' strong('bold') ' and ' code('co*de*') '.')"),
    ("one\ntwo\n\nthree", "p('one\ntwo') p('three')"),
    ("# Title #\n## Sub", "h2('Title') h3('Sub')"),
    ("- a\n- b\n  - c\n- d", "ul(li('a') li('b' ul(li('c'))) li('d'))"),
    ("1. a\n2. b", "ol(li('a') li('b'))"),
    ("3) a\n\n4) b", "ol(li(p('a')) li(p('b')))"),
    ("* a\n  more\n\n  second\n* b", "ul(li(p('a\nmore') p('second')) li(p('b')))"),
    ("Text:\n- a\n\nend", "p('Text:') ul(li('a')) p('end')"),
    ("> quoted\n> - item\n\nout", "blockquote(p('quoted') ul(li('item'))) p('out')"),
    ("```py\nx = '<b>'\n\n# no\n```\nend", "figure(figcaption(span('py') button('Copy')) pre(code('x = '<b>'\n\n# no'))) p('end')"),
    ("```\nnot closed\n  yet", "figure(figcaption(span('text') button('Copy')) pre(code('not closed\n  yet')))"),
    ("1. a\n   ```\n   code\n   ```\n2. b", "ol(li('a' figure(figcaption(span('text') button('Copy')) pre(code('code')))) li('b'))"),
    ("| a | b |\n|---|--:|\n| 1 | 2\\|3 |\n| `x` |", "div(table(thead(tr(th('a') th('b'))) tbody(tr(td('1') td('2|3')) tr(td(code('x')) td()))))"),
    ("a\n***\nb\n\n---", "p('a') hr() p('b') hr()"),
    ("[text *em*](https://example.org/a_(b)) <https://example.org/>", "p(a('text ' em('em')) ' ' a('https://example.org/'))"),
    ("see https://example.org/a_b_c, and (http://x.example/y).", "p('see ' a('https://example.org/a_b_c') ', and (' a('http://x.example/y') ').')"),
    ("snake_case_name and 2 * 3 * 4 and 5*6", "p('snake_case_name and 2 * 3 * 4 and 5*6')"),
    ("\\*not\\* ***both*** ~~gone~~ __strong__ _em_", "p('*not* ' strong(em('both')) ' ' s('gone') ' ' strong('strong') ' ' em('em'))"),
    ("**a *b* c** and *a **b** c*", "p(strong('a ' em('b') ' c') ' and ' em('a ' strong('b') ' c'))"),
    ("`` a`b `` <b>no</b> &amp;", "p(code('a`b') ' <b>no</b> &amp;')"),
    ("line  \nbreak", "p('line' br() 'break')"),
    ("**not closed and `this neither", "p('**not closed and `this neither')"),
    ("[no](javascript:alert(1)) [empty]()", "p('[no](javascript:alert(1)) [empty]()')"),
]
SHAPE = """
const shape = (node) => node.nodeType === Node.TEXT_NODE ? `'${node.data}'`
  : `${node.localName}(${[...node.childNodes].map(shape).join(" ")})`;
const last = [...document.querySelectorAll(".turn.assistant .text")].at(-1);
last.normalize();
return [...last.childNodes].map(shape).join(" ");
"""


class Page(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Served("--parallel", "2", key=KEY)
        cls.browser = Browser().__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.browser.__exit__()
        cls.server.__exit__(None)

    def setUp(self):
        self.open()

    def tearDown(self):
        self.assertEqual(self.browser.complaints(), [])

    def open(self, key=KEY):
        browser = self.browser
        browser.driver.get(f"{self.server.url}/")
        browser.run("sessionStorage.clear(); localStorage.clear(); if (arguments[0]) sessionStorage.setItem('key', arguments[0]);", key)
        browser.driver.refresh()
        browser.until(lambda: browser.state() in ("ready", "needs an API key"), "the page is connected")

    def wait_for_end(self):
        self.browser.until(lambda: not self.browser.is_answering(), "the answer is complete", 60)

    def test_a_message_is_answered_piece_by_piece(self):
        browser = self.browser
        self.assertEqual(browser.one("h1").text, self.server.model)
        self.assertTrue(browser.one("#empty").is_displayed())
        self.assertEqual(browser.run("return document.activeElement.id"), "text")
        browser.say(LONG)
        self.assertFalse(browser.one("#empty").is_displayed())
        lengths = set()
        while browser.is_answering() and len(lengths) < 200:
            lengths.add(len(browser.answer()))
        self.assertGreater(len(lengths), 5, "text did not grow")
        browser.press(Keys.ESCAPE)
        self.wait_for_end()
        self.assertRegex(browser.one(".figures").text, r"^\d+ tokens · [\d.]+ tokens/s · first after [\d.]+ s")

    def test_enter_with_shift_is_a_new_line(self):
        browser = self.browser
        browser.answer_with(["yes"])
        browser.one("#text").send_keys("one", Keys.SHIFT, Keys.ENTER, Keys.NULL, "two")
        self.assertEqual((browser.run("return document.getElementById('text').value"), browser.answers()), ("one\ntwo", []))
        browser.press(Keys.ENTER)
        self.wait_for_end()
        self.assertEqual(browser.run("return window.asked.messages"), [{"role": "user", "content": "one\ntwo"}])
        self.assertEqual(browser.run("return document.getElementById('text').value"), "")

    def test_stop_by_key_and_by_button(self):
        browser = self.browser
        for stop in (lambda: browser.press(Keys.ESCAPE), lambda: browser.one("#stop").click()):
            browser.say(LONG)
            browser.until(lambda: len(browser.answer()) > 40, "some text is there")
            stop()
            self.wait_for_end()
            text = browser.answer()
            self.assertIn("stopped", browser.answers()[-1].text)
            self.server.wait_until_idle()
            self.assertEqual(browser.answer(), text)
            self.assertTrue(browser.one("#send").is_displayed() and not browser.one("#stop").is_displayed())

    def test_regenerate_replaces_the_last_answer(self):
        browser = self.browser
        browser.answer_with(["first"])
        browser.say("Hello")
        self.wait_for_end()
        browser.answer_with(["second"])
        browser.one(".again").click()
        browser.until(lambda: browser.answer() == "second", "the second answer is there")
        self.wait_for_end()
        self.assertEqual(len(browser.answers()), 1)
        self.assertEqual(browser.run("return window.asked.messages"), [{"role": "user", "content": "Hello"}])
        browser.say("More")
        browser.until(lambda: len(browser.answers()) == 2, "there is a second answer")
        self.wait_for_end()
        roles = [(message["role"], message["content"]) for message in browser.run("return window.asked.messages")]
        self.assertEqual(roles, [("user", "Hello"), ("assistant", "second"), ("user", "More")])
        self.assertEqual(len(browser.all(".again")), 1)
        browser.one("#new").click()
        self.assertEqual((browser.answers(), browser.one("#empty").is_displayed()), ([], True))

    def test_settings_are_sent_and_kept(self):
        browser = self.browser
        browser.one("#open-settings").click()
        values = {"system": "Be brief.", "temperature": "0.5", "max_tokens": "2", "top_k": "5", "seed": "3"}
        for name, value in values.items():
            browser.one(f"[name={name}]").send_keys(value)
        browser.press(Keys.ESCAPE)
        self.assertFalse(browser.one("#settings").is_displayed())
        browser.driver.refresh()
        browser.until(lambda: browser.state() == "ready", "the page is connected")
        browser.answer_with(["ok"])
        browser.say("Hello")
        self.wait_for_end()
        asked = browser.run("return window.asked")
        self.assertEqual(asked.pop("messages"), [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}])
        stream = {"stream": True, "stream_options": {"include_usage": True}}
        self.assertEqual(asked, {"temperature": 0.5, "max_tokens": 2, "top_k": 5, "seed": 3, **stream})
        browser.answer_truly()
        browser.say("Count from one to a hundred.")
        self.wait_for_end()
        self.assertRegex(browser.all(".figures")[-1].text, "^2 tokens .* cut off at the limit$")

    def test_a_key_is_asked_for(self):
        browser = self.browser
        self.open(key=None)
        self.assertEqual((browser.state(), browser.run("return document.activeElement.id")), ("needs an API key", "key"))
        browser.press("wrong", Keys.TAB)
        browser.say("Hello")
        error = browser.until(lambda: browser.all(".error"), "an error is shown")[0]
        self.assertIn("The API key is wrong", error.text)
        browser.one(".error button").click()
        browser.press(KEY, Keys.TAB)
        browser.until(lambda: browser.state() == "ready", "the key is taken")
        browser.one(".again").click()
        browser.until(lambda: not browser.all(".error"), "the error is gone")
        browser.until(lambda: browser.answer(), "it is answered")
        browser.press(Keys.ESCAPE)
        self.wait_for_end()
        self.assertEqual(browser.run("return [localStorage.getItem('key'), sessionStorage.getItem('key')]"), [None, KEY])

    def test_errors_within_a_stream_are_shown(self):
        browser = self.browser
        for ending, message in [
            ({"error": {"message": "the server is shutting down", "code": "shutting_down"}}, "The server is shutting down"),
            (None, "The connection ended before the answer did."),
        ]:
            browser.answer_with(["some ", "text"], ending)
            browser.say("Hello")
            browser.until(lambda: browser.all(".error"), "an error is shown")
            self.wait_for_end()
            self.assertEqual((browser.one(".error p").text, browser.answer()), (message, "some text"))
            browser.one("#new").click()
        browser.run("window.fetch = () => Promise.reject(new TypeError('Failed to fetch'));")
        browser.say("Hello")
        browser.until(lambda: browser.all(".error"), "an error is shown")
        self.assertIn("cannot be reached", browser.one(".error p").text)

    def test_nothing_in_a_text_is_run(self):
        browser = self.browser
        browser.answer_with([HOSTILE[:300], HOSTILE[300:]])
        browser.run("document.getElementById('text').value = arguments[0];", HOSTILE)
        browser.one("#text").send_keys(Keys.ENTER)
        self.wait_for_end()
        foreign = "#turns :is(script, img, iframe, style, object, embed, form, b, [onclick], [onerror], [onload], [onmouseover])"
        self.assertEqual(browser.all(foreign), [])
        for link in browser.all("#turns a"):
            # A picture is a link: nothing is loaded from elsewhere.
            self.assertTrue(link.get_attribute("href").startswith(("https://example.org/", "https://evil.example/x.png")))
            self.assertEqual((link.get_attribute("target"), link.get_attribute("rel")), ("_blank", "noopener noreferrer nofollow"))
        self.assertIsNone(browser.run("return window.hacked"))
        self.assertEqual(browser.one(".turn.user").text.strip().splitlines()[-1], HOSTILE.splitlines()[-1])
        # Even a script that got into the page would not run.
        self.assertEqual(browser.run("""
            const script = document.createElement("script");
            try { script.text = "window.hacked = 1"; document.body.append(script); } catch { return "refused"; }
            return window.hacked ?? "not run";"""), "refused")  # fmt: skip
        refused = browser.complaints()
        self.assertTrue(refused and all("TrustedScript" in message or "Content Security Policy" in message for message in refused), refused)

    def test_markdown(self):
        browser = self.browser
        for text, shape in MARKDOWN:
            with self.subTest(text):
                # By the character, so that what is half there is seen, too.
                browser.answer_with(list(text))
                browser.say("Hello")
                self.wait_for_end()
                self.assertEqual(browser.run(SHAPE), shape)
                browser.one("#new").click()

    def test_long_and_deep_texts_are_shown_quickly(self):
        browser = self.browser
        for text in ["*" * 5000, "[" * 5000, "> " * 2000 + "x", "- " * 2000, "`" * 5000 + "a", "_a" * 5000, "**a" * 3000, "~~" * 3000, "|" * 3000 + "\n" + "|-" * 1500, "![](" * 2000, "<a:" * 2000, "http://" * 1500]:
            with self.subTest(text[:8]):
                browser.answer_with([text])
                took = browser.run("const start = performance.now(); markdown.show(document.createElement('div'), arguments[0]); return performance.now() - start", text)
                self.assertLess(took, 1500)

    def test_colors(self):
        browser = self.browser
        brightness = lambda: browser.run("return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).reduce((sum, part) => sum + Number(part), 0)")
        browser.color_scheme("light")
        self.assertGreater(brightness(), 600)
        browser.color_scheme("dark")
        self.assertLess(brightness(), 150)
        browser.one("#theme").click()
        self.assertGreater(brightness(), 600)
        browser.driver.refresh()
        self.assertGreater(brightness(), 600)
        browser.one("#theme").click()
        self.assertLess(brightness(), 150)
        browser.color_scheme("light")
        self.assertLess(brightness(), 150)

    def test_everything_has_a_name_and_the_focus_is_seen(self):
        browser = self.browser
        browser.answer_with(["Hello, `you`:\n\n```\ncode\n```"])
        browser.say("Hello")
        self.wait_for_end()
        browser.one("#open-settings").click()
        for control in browser.all("button, input, textarea, a"):
            if control.is_displayed():
                self.assertTrue(control.accessible_name, control.get_attribute("outerHTML"))
        browser.one("#close-settings").click()
        seen = set()
        for _ in range(20):
            browser.press(Keys.TAB)
            seen.add(browser.run("const node = document.activeElement; return `${node.id || node.className || node.localName}`;"))
            outline = browser.run("const style = getComputedStyle(document.activeElement); return style.outlineStyle")
            inside = browser.run("return document.activeElement.id")
            self.assertTrue(outline != "none" or inside in ("text", "log", ""), inside)
        self.assertLessEqual({"new", "theme", "open-settings", "text", "copy", "tool again"}, seen)


def screenshots(folder):
    """The page without a chat, while an answer comes, and with an error."""
    folder = Path(folder)
    with Served("--parallel", "2", key=KEY) as server, Browser() as browser:
        shoot = lambda name, scheme: browser.driver.save_screenshot(str(folder / f"chat-{name}-{scheme}.png"))
        for scheme in ("light", "dark"):
            browser.color_scheme(scheme)
            browser.driver.get(f"{server.url}/")
            browser.run("sessionStorage.setItem('key', arguments[0])", KEY)
            browser.driver.refresh()
            browser.until(lambda: browser.state() == "ready", "the page is connected")
            shoot("empty", scheme)
            browser.say("Name three colors.")
            browser.until(lambda: browser.answer() and not browser.is_answering(), "the answer is complete", 60)
            browser.say("Write a Python function that adds two numbers, and explain it step by step.")
            browser.until(lambda: len(browser.answer()) > 180 or not browser.is_answering(), "much text is there", 60)
            shoot("streaming", scheme)
            browser.press(Keys.ESCAPE)
            browser.until(lambda: not browser.is_answering(), "it is stopped")
            browser.one("#new").click()
            browser.one("#open-settings").click()
            browser.one("#key").clear()
            browser.one("#key").send_keys("wrong", Keys.TAB)
            browser.say("Name three colors.")
            browser.until(lambda: browser.all(".error"), "an error is shown")
            shoot("error", scheme)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--screenshots")
    arguments, rest = parser.parse_known_args()
    if arguments.screenshots:
        screenshots(arguments.screenshots)
    else:
        unittest.main(argv=[sys.argv[0], *rest], verbosity=2)
