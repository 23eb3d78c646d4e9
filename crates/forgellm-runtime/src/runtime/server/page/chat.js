"use strict";

(() => {
  const at = (id) => document.getElementById(id);
  const [log, turns, text, send, stop, down, settings, fields, key] = ["log", "turns", "text", "send", "stop", "down", "settings", "fields", "key"].map(at);
  /// The chat: `{role, content, node}`, and of answers what there is to say about them.
  let chat = [];
  /// Ends the answer that is coming; null where none is.
  let running = null;

  // Storage may be switched off; then nothing is kept.
  const store = (storage, name, value) => { try { value ? window[storage].setItem(name, value) : window[storage].removeItem(name); } catch {} };
  const stored = (storage, name) => { try { return window[storage].getItem(name) ?? ""; } catch { return ""; } };

  function make(name, properties = {}, ...children) {
    const node = Object.assign(document.createElement(name), properties);
    node.append(...children);
    return node;
  }

  function icon(name) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
    use.setAttribute("href", `#icon-${name}`);
    svg.append(use);
    return svg;
  }

  function tool(name, label, action) {
    const button = make("button", { type: "button", className: "tool", title: label }, icon(name), make("span", { className: "hidden", textContent: label }));
    button.addEventListener("click", action);
    return button;
  }

  function tell(is, message) {
    at("state").dataset.is = is;
    at("state").textContent = message;
  }

  // ---- The server ----

  class ServerError extends Error {
    constructor(message, code, status) {
      super(message);
      Object.assign(this, { code, status });
    }
  }

  async function request(path, options = {}) {
    const headers = { "Content-Type": "application/json", ...(key.value && { Authorization: `Bearer ${key.value}` }) };
    let response;
    try {
      response = await fetch(path, { ...options, headers });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ServerError("The server cannot be reached. Is it still running?");
    }
    if (response.ok) return response;
    const told = await response.json().catch(() => ({}));
    throw new ServerError(told.error?.message ?? `The server answered with status ${response.status}.`, told.error?.code, response.status);
  }

  /// The events of a stream, <https://html.spec.whatwg.org/multipage/server-sent-events.html>, as this server writes them.
  async function* events(response) {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) throw new ServerError("The connection ended before the answer did.");
      const parts = (rest + value).split("\n\n");
      rest = parts.pop();
      for (const part of parts) {
        const data = part.replace(/^data: /, "");
        if (data === "[DONE]") return;
        const event = JSON.parse(data);
        if (event.error) throw new ServerError(event.error.message, event.error.code);
        yield event;
      }
    }
  }

  async function connect() {
    try {
      const models = await (await request("/v1/models")).json();
      const name = models.data[0].id;
      at("model").textContent = name;
      document.title = `${name} · Chat`;
      tell("ready", "ready");
    } catch (error) {
      tell("failed", error.status === 401 ? "needs an API key" : "not reachable");
      if (error.status === 401) askForKey();
    }
  }

  function askForKey() {
    showSettings(true);
    key.focus();
    key.select();
  }

  // ---- The chat ----

  function addUser(content) {
    const node = make("li", { className: "turn user" }, make("span", { className: "hidden", textContent: "You: " }), content);
    turns.append(node);
    chat.push({ role: "user", content, node });
  }

  function addAnswer() {
    const node = make("li", { className: "turn assistant" }, make("span", { className: "hidden", textContent: "Answer: " }));
    const answer = { role: "assistant", content: "", node, body: make("div", { className: "text" }), foot: make("div", { className: "foot" }) };
    answer.figures = make("span", { className: "figures" });
    node.append(answer.body, answer.foot);
    answer.foot.append(answer.figures);
    node.setAttribute("aria-busy", "true");
    turns.append(node);
    chat.push(answer);
    return answer;
  }

  function body() {
    const settings = Object.fromEntries(
      [...fields.querySelectorAll("input[name]")].filter((field) => field.value !== "" && field.validity.valid).map((field) => [field.name, field.valueAsNumber]),
    );
    const system = fields.elements.system.value.trim();
    const messages = chat.slice(0, -1).map(({ role, content }) => ({ role, content }));
    if (system) messages.unshift({ role: "system", content: system });
    return { messages, stream: true, stream_options: { include_usage: true }, ...settings };
  }

  /// Asks for an answer to the chat so far, and shows it as it comes.
  async function ask() {
    const answer = addAnswer();
    const controller = new AbortController();
    running = controller;
    showRunning();
    const times = { asked: performance.now(), first: 0, last: 0, pieces: 0 };
    let drawing = 0;
    const draw = () => {
      drawing = 0;
      markdown.show(answer.body, answer.content);
      answer.figures.textContent = figures(times, times.pieces, "");
      follow();
    };
    let end = "";
    let failure = null;
    let tokens = null;
    try {
      const response = await request("/v1/chat/completions", { method: "POST", body: JSON.stringify(body()), signal: controller.signal });
      for await (const event of events(response)) {
        tokens = event.usage?.completion_tokens ?? tokens;
        const choice = event.choices[0];
        if (!choice) continue;
        if (choice.finish_reason === "length") end = "cut off at the limit";
        if (choice.delta.content === undefined) continue;
        times.last = performance.now();
        times.first ||= times.last;
        times.pieces += 1;
        answer.content += choice.delta.content;
        drawing ||= requestAnimationFrame(draw);
      }
    } catch (error) {
      if (error.name === "AbortError") end = "stopped";
      else failure = error;
    }
    cancelAnimationFrame(drawing);
    draw();
    answer.figures.textContent = figures(times, tokens ?? times.pieces, end);
    answer.node.removeAttribute("aria-busy");
    if (failure) showFailure(answer, failure);
    // A chat that was begun anew meanwhile is not ours.
    if (running === controller) {
      running = null;
      showRunning(failure);
      addTools(answer);
      follow();
    }
  }

  function figures({ asked, first, last }, tokens, end) {
    const parts = [];
    if (tokens) parts.push(`${tokens} ${tokens === 1 ? "token" : "tokens"}`);
    if (tokens > 1 && last > first) parts.push(`${(((tokens - 1) * 1000) / (last - first)).toFixed(1)} tokens/s`);
    if (first) parts.push(`first after ${((first - asked) / 1000).toFixed(2)} s`);
    if (end) parts.push(end);
    return parts.join(" · ");
  }

  function showFailure(answer, error) {
    const wrongKey = error.status === 401;
    const action = make("button", { type: "button", textContent: wrongKey ? "Enter key" : "Try again" });
    action.addEventListener("click", () => (wrongKey ? askForKey() : again(answer)));
    const message = error.message.charAt(0).toUpperCase() + error.message.slice(1);
    const box = make("div", { className: "error", role: "alert" }, icon("error"), make("p", { textContent: message }), action);
    answer.body.after(box);
  }

  function addTools(answer) {
    for (const button of turns.querySelectorAll(".again")) button.remove();
    const tools = [];
    if (answer.content && navigator.clipboard) {
      tools.push(tool("copy", "Copy answer", () => navigator.clipboard.writeText(answer.content)));
    }
    const regenerate = tool("again", "Regenerate answer", () => again(answer));
    regenerate.classList.add("again");
    answer.foot.prepend(...tools, regenerate);
  }

  /// Replaces the last answer.
  function again(answer) {
    if (running || chat.at(-1) !== answer) return;
    chat.pop().node.remove();
    ask();
    text.focus();
  }

  function say(content) {
    if (running || !content.trim()) return;
    at("empty").hidden = true;
    addUser(content);
    log.scrollTop = log.scrollHeight;
    ask();
  }

  function startAnew() {
    running?.abort();
    running = null;
    chat = [];
    turns.replaceChildren();
    at("empty").hidden = false;
    showRunning();
    text.focus();
  }

  function showRunning(failure) {
    send.hidden = Boolean(running);
    stop.hidden = !running;
    send.disabled = !text.value.trim();
    if (running) tell("busy", "answering…");
    else if (failure) tell("failed", "the last answer failed");
    else tell("ready", "ready");
  }

  // ---- The view ----

  const isAtEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < 60;
  let follows = true;

  /// Keeps the end in view, unless the reader has scrolled away from it.
  function follow() {
    if (follows) log.scrollTop = log.scrollHeight;
    down.hidden = follows || isAtEnd();
  }

  function fit() {
    text.style.height = "auto";
    text.style.height = `${text.scrollHeight}px`;
    send.disabled = !text.value.trim();
  }

  function showSettings(show) {
    settings.hidden = !show;
    at("open-settings").setAttribute("aria-expanded", String(show));
  }

  const prefersDark = window.matchMedia("(prefers-color-scheme: dark)");

  function showTheme() {
    const chosen = stored("localStorage", "theme");
    const isDark = chosen ? chosen === "dark" : prefersDark.matches;
    if (chosen) document.documentElement.dataset.theme = chosen;
    at("theme").setAttribute("aria-pressed", String(isDark));
    at("theme").title = isDark ? "Light colors" : "Dark colors";
    at("theme").querySelector("use").setAttribute("href", isDark ? "#icon-light" : "#icon-dark");
  }

  function loadSettings() {
    key.value = stored("sessionStorage", "key");
    const known = (() => { try { return JSON.parse(stored("localStorage", "settings") || "{}"); } catch { return {}; } })();
    for (const field of fields.querySelectorAll("[name]")) field.value = typeof known?.[field.name] === "string" ? known[field.name] : "";
  }

  function saveSettings() {
    const named = [...fields.querySelectorAll("[name]")].filter((field) => field.value);
    store("localStorage", "settings", named.length && JSON.stringify(Object.fromEntries(named.map((field) => [field.name, field.value]))));
  }

  // ---- What the user does ----

  at("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    const content = text.value;
    if (running || !content.trim()) return;
    text.value = "";
    fit();
    say(content);
  });
  text.addEventListener("keydown", (event) => {
    // Enter also ends the input of a character that takes several keys.
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      at("composer").requestSubmit();
    }
  });
  text.addEventListener("input", fit);
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || event.isComposing) return;
    if (running) {
      running.abort();
      text.focus();
    } else if (!settings.hidden) {
      showSettings(false);
      at("open-settings").focus();
    }
  });
  stop.addEventListener("click", () => { running?.abort(); text.focus(); });
  at("new").addEventListener("click", startAnew);
  at("ideas").addEventListener("click", (event) => { if (event.target.matches("button")) { say(event.target.textContent); text.focus(); } });
  down.addEventListener("click", () => { follows = true; follow(); text.focus(); });
  log.addEventListener("scroll", () => { follows = isAtEnd(); down.hidden = follows; });
  at("open-settings").addEventListener("click", () => {
    showSettings(settings.hidden);
    if (!settings.hidden) fields.elements.system.focus();
  });
  at("close-settings").addEventListener("click", () => { showSettings(false); at("open-settings").focus(); });
  at("theme").addEventListener("click", () => {
    store("localStorage", "theme", at("theme").getAttribute("aria-pressed") === "true" ? "light" : "dark");
    showTheme();
  });
  prefersDark.addEventListener("change", showTheme);
  fields.addEventListener("submit", (event) => event.preventDefault());
  fields.addEventListener("input", saveSettings);
  key.addEventListener("change", () => { store("sessionStorage", "key", key.value); connect(); });
  at("reset").addEventListener("click", () => {
    for (const field of fields.querySelectorAll("[name]")) field.value = "";
    saveSettings();
  });

  loadSettings();
  showTheme();
  fit();
  connect();
})();
