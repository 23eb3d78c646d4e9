"use strict";

// Markdown to DOM nodes. Text of a model or a user only ever becomes text nodes: nothing here parses HTML, sets an attribute from
// text except a checked address, or loads anything.

const markdown = (() => {
  // Quotes and lists within each other beyond this depth are plain text.
  const DEEPEST = 12;
  const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([^`]*)$/;
  const HEADING = /^ {0,3}(#{1,6})(?:\s+(.*?))?(?:\s+#+)?\s*$/;
  const RULE = /^ {0,3}(?:(?:\*\s*){3,}|(?:-\s*){3,}|(?:_\s*){3,})$/;
  const QUOTE = /^ {0,3}> ?/;
  const ITEM = /^( *)([-*+]|\d{1,9}[.)])(?:( +)(.*)|)$/;
  const DELIMITERS = /^ {0,3}\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*$/;

  function element(name, children = [], className = "") {
    const node = document.createElement(name);
    if (className) node.className = className;
    node.append(...children);
    return node;
  }

  /// An address that a link may have, or null. Scripts, data and files are no such addresses.
  function safeAddress(text) {
    let address;
    try {
      address = new URL(text);
    } catch {
      return null;
    }
    return ["http:", "https:", "mailto:"].includes(address.protocol) ? address.href : null;
  }

  function link(text, children) {
    const address = safeAddress(text);
    if (!address) return null;
    const node = element("a", children);
    node.href = address;
    node.rel = "noopener noreferrer nofollow";
    node.target = "_blank";
    node.title = address;
    return node;
  }

  // What may stand in a line of text, in the order in which it is tried at each place.
  const INLINE = [
    [/\\([!-/:-@[-`{-~])/y, (match) => [match[1]]],
    [/(`+)(?!`)([^]*?[^`])\1(?!`)/y, (match) => [element("code", [match[2].replace(/^ (.*) $/, "$1")])]],
    [/!?\[((?:[^\[\]\\]|\\.)*)\]\(\s*<?([^\s<>()]*(?:\([^\s<>()]*\)[^\s<>()]*)*)>?(?:\s+"[^"]*")?\s*\)/y, (match, depth) => {
      const node = link(match[2], inline(match[1], depth + 1));
      return node && [node];
    }],
    [/<([a-z][a-z0-9+.-]*:[^\s<>]+)>/iy, (match) => { const node = link(match[1], [match[1]]); return node && [node]; }],
    [/https?:\/\/[^\s<>"'`*]*[^\s<>"'`*.,:;!?)\]}]/iy, (match) => { const node = link(match[0], [match[0]]); return node && [node]; }],
    [/\*\*\*(?=\S)((?:(?!\*\*\*)[^])*?\S)\*\*\*/y, (match, depth) => [element("strong", [element("em", inline(match[1], depth + 1))])]],
    [/\*\*(?=\S)((?:\\.|\*(?!\*)|[^*\\])*?\S)\*\*(?!\*)/y, (match, depth) => [element("strong", inline(match[1], depth + 1))]],
    [/(?<!\w)__(?=\S)([^]*?\S)__(?!\w)/y, (match, depth) => [element("strong", inline(match[1], depth + 1))]],
    [/\*(?=[^\s*])((?:\\.|\*\*(?:(?!\*\*)[^])+\*\*|[^*\\])*?[^\s*])\*(?!\*)/y, (match, depth) => [element("em", inline(match[1], depth + 1))]],
    [/(?<!\w)_(?=\S)([^_]*?\S)_(?!\w)/y, (match, depth) => [element("em", inline(match[1], depth + 1))]],
    [/~~(?=\S)([^~]*?\S)~~/y, (match, depth) => [element("s", inline(match[1], depth + 1))]],
    [/(?: {2,}|\\)\n/y, () => [element("br")]],
  ];
  // Where one of these may begin.
  const SPECIAL = /[\\`!\[<*_~]| {2,}\n|https?:\/\//gi;
  // A pattern looks at most so far, so that text made to be slow is not.
  const FARTHEST = 4000;

  /// The nodes of a piece of text without blocks.
  function inline(text, depth = 0) {
    if (depth > DEEPEST) return [text];
    const nodes = [];
    let plain = "";
    let at = 0;
    while (at < text.length) {
      SPECIAL.lastIndex = at;
      const next = SPECIAL.exec(text)?.index ?? text.length;
      plain += text.slice(at, next);
      at = next;
      if (at >= text.length) break;
      const reach = text.length - at > FARTHEST ? text.slice(0, at + FARTHEST) : text;
      let made = null;
      for (const [pattern, make] of INLINE) {
        pattern.lastIndex = at;
        const match = pattern.exec(reach);
        made = match && make(match, depth);
        if (made) {
          if (plain) nodes.push(plain);
          plain = "";
          nodes.push(...made);
          at += match[0].length;
          break;
        }
      }
      if (!made) {
        plain += text[at];
        at += 1;
      }
    }
    if (plain) nodes.push(plain);
    return nodes;
  }

  /// Cuts text into blocks: `{kind, source, …}`. A block of a text that grows stays the same once the next one has begun.
  function blocks(text, depth = 0) {
    const lines = text.replace(/\r\n?/g, "\n").replace(/\t/g, "    ").split("\n");
    const found = [];
    let at = 0;
    const startsBlock = (line) => FENCE.test(line) || HEADING.test(line) || RULE.test(line) || QUOTE.test(line) || ITEM.test(line);
    const add = (kind, end, more) => {
      found.push({ kind, source: lines.slice(at, end).join("\n"), ...more });
      at = end;
    };
    while (at < lines.length) {
      const line = lines[at];
      let match;
      if (!line.trim()) {
        at += 1;
      } else if ((match = FENCE.exec(line))) {
        const [, fence, language] = match;
        let end = at + 1;
        while (end < lines.length && !(lines[end].trim().startsWith(fence) && !lines[end].trim().replaceAll(fence[0], ""))) end += 1;
        add("code", Math.min(end + 1, lines.length), { text: lines.slice(at + 1, end).join("\n"), language: language.trim() });
      } else if ((match = HEADING.exec(line))) {
        add("heading", at + 1, { level: match[1].length, text: match[2] ?? "" });
      } else if (RULE.test(line)) {
        add("rule", at + 1);
      } else if (QUOTE.test(line) && depth < DEEPEST) {
        let end = at;
        while (end < lines.length && lines[end].trim() && (QUOTE.test(lines[end]) || !startsBlock(lines[end]))) end += 1;
        add("quote", end, { text: lines.slice(at, end).map((quoted) => quoted.replace(QUOTE, "")).join("\n") });
      } else if (ITEM.test(line) && depth < DEEPEST) {
        const list = listAt(lines, at);
        add("list", list.end, list);
      } else if (line.includes("|") && at + 1 < lines.length && DELIMITERS.test(lines[at + 1]) && cells(line).length === cells(lines[at + 1]).length) {
        let end = at + 2;
        while (end < lines.length && lines[end].trim() && !startsBlock(lines[end])) end += 1;
        add("table", end, { rows: lines.slice(at, end) });
      } else {
        let end = at + 1;
        while (end < lines.length && lines[end].trim() && !startsBlock(lines[end])) end += 1;
        add("paragraph", end, { text: lines.slice(at, end).map((part) => part.trimStart()).join("\n") });
      }
    }
    return found;
  }

  /// The list that begins at a line: its items' texts without their indentation.
  function listAt(lines, start) {
    const [, indent, marker] = ITEM.exec(lines[start]);
    const kind = (text) => (/\d/.test(text) ? text.at(-1) : text);
    const items = [];
    let width = 0;
    let end = start;
    let isLoose = false;
    while (end < lines.length) {
      const line = lines[end];
      const match = ITEM.exec(line);
      const depth = line.length - line.trimStart().length;
      if (match && depth < Math.max(width, indent.length + 2) && depth <= indent.length + 3 && (!items.length || depth < width)) {
        if (kind(match[2]) !== kind(marker) || RULE.test(line)) break;
        width = match[1].length + match[2].length + (match[4] === undefined ? 1 : Math.min(match[3].length, 4));
        items.push([match[4] ?? ""]);
      } else if (!line.trim()) {
        // A blank line belongs to the list if an item or more of this one follows.
        const next = lines.slice(end + 1).findIndex((later) => later.trim());
        const later = next < 0 ? "" : lines[end + 1 + next];
        const laterDepth = later.length - later.trimStart().length;
        const laterItem = ITEM.exec(later);
        if (next < 0 || !(laterDepth >= width || (laterItem && kind(laterItem[2]) === kind(marker)))) break;
        items.at(-1).push("");
        isLoose = true;
      } else if (depth >= width || (depth > indent.length && items.length)) {
        items.at(-1).push(line.slice(Math.min(depth, width)));
      } else if (lines[end - 1].trim() && !FENCE.test(line) && !HEADING.test(line) && !QUOTE.test(line) && !RULE.test(line) && !match) {
        items.at(-1).push(line);
      } else {
        break;
      }
      end += 1;
    }
    return { end, items: items.map((item) => item.join("\n")), first: /\d/.test(marker) ? parseInt(marker, 10) : null, isLoose };
  }

  function cells(line) {
    const inner = line.trim().replace(/^\|/, "").replace(/(?<!\\)\|$/, "");
    return inner.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
  }

  function table({ rows: [head, delimiters, ...rest] }) {
    const sides = cells(delimiters).map((cell) => (cell.endsWith(":") ? (cell.startsWith(":") ? "center" : "right") : ""));
    const row = (name, line) =>
      element("tr", sides.map((side, index) => element(name, inline(cells(line)[index] ?? ""), side)));
    const body = element("tbody", rest.map((line) => row("td", line)));
    const wide = element("div", [element("table", [element("thead", [row("th", head)]), body])], "table");
    wide.tabIndex = 0;
    return wide;
  }

  function code({ text, language }) {
    const name = language.split(/\s/)[0].slice(0, 20);
    const copy = element("button", ["Copy"], "copy");
    copy.type = "button";
    copy.addEventListener("click", async () => {
      await navigator.clipboard.writeText(text);
      copy.textContent = "Copied";
      setTimeout(() => (copy.textContent = "Copy"), 1500);
    });
    const body = element("pre", [element("code", [text])]);
    body.tabIndex = 0;
    return element("figure", [element("figcaption", [element("span", [name || "text"]), copy]), body], "code");
  }

  function build(block, depth) {
    switch (block.kind) {
      case "code":
        return code(block);
      case "heading":
        // The page has a heading of its own above them.
        return element(`h${Math.min(block.level + 1, 6)}`, inline(block.text));
      case "rule":
        return element("hr");
      case "quote":
        return element("blockquote", nodes(block.text, depth + 1));
      case "list": {
        const list = element(block.first === null ? "ul" : "ol", block.items.map((item) => element("li", listItem(item, block, depth))));
        if (block.first !== null && block.first !== 1) list.start = block.first;
        return list;
      }
      case "table":
        return table(block);
      default:
        return element("p", inline(block.text));
    }
  }

  /// A paragraph in a list without blank lines is no paragraph of its own.
  function listItem(text, { isLoose }, depth) {
    const inner = blocks(text, depth + 1);
    return inner.flatMap((block) =>
      block.kind === "paragraph" && !isLoose ? inline(block.text) : [build(block, depth + 1)],
    );
  }

  function nodes(text, depth = 0) {
    return blocks(text, depth).map((block) => build(block, depth));
  }

  /// Shows text in `place`. Blocks that did not change since the last time keep their nodes, and so what is selected in them.
  function show(place, text) {
    const wanted = blocks(text);
    const shown = place.shownBlocks ?? [];
    let same = 0;
    while (same < shown.length && same < wanted.length && shown[same].kind === wanted[same].kind && shown[same].source === wanted[same].source) same += 1;
    while (place.childNodes.length > same) place.lastChild.remove();
    place.append(...wanted.slice(same).map((block) => build(block, 0)));
    place.shownBlocks = wanted;
  }

  return { show, safeAddress };
})();
