// Markdown as DOM nodes.
//
// A model's answer is never parsed as HTML: every piece of it becomes a text node, so nothing in it
// can run.  This is a subset of CommonMark with GitHub's tables; libraries return HTML strings that
// would need a sanitizer, and none is published as a single readable module.

const MAX_DEPTH = 8; // of lists and quotes
const MAX_INLINE = 20_000; // characters; longer paragraphs are shown as they are

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([\w+#.-]*)/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*?)(?:\s+#+)?\s*$/;
const RULE = /^ {0,3}([-*_])(?:\s*\1){2,}\s*$/;
const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])(?:\s+|$)(.*)$/;
const QUOTE = /^ {0,3}> ?(.*)$/;
const DELIMITERS = /^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/;

// Split a text into blocks: {kind, lines, ...}.  Appending to a text changes only its last blocks.
export function blocksOf(text) {
  const lines = text.replaceAll("\r\n", "\n").split("\n");
  const blocks = [];
  for (let at = 0; at < lines.length; ) {
    const block = blockAt(lines, at);
    if (block.kind !== "blank") blocks.push(block);
    at += block.lines.length;
  }
  return blocks;
}

function blockAt(lines, at) {
  const line = lines[at];
  if (!line.trim()) return { kind: "blank", lines: [line] };
  if (FENCE.test(line)) return fence(lines, at);
  if (HEADING.test(line)) return { kind: "heading", lines: [line] };
  if (RULE.test(line)) return { kind: "rule", lines: [line] };
  if (isTable(lines, at)) return { kind: "table", lines: take(lines, at, (next) => next.includes("|")) };
  if (QUOTE.test(line)) return { kind: "quote", lines: take(lines, at, (next) => QUOTE.test(next)) };
  if (ITEM.test(line)) return { kind: "list", lines: takeList(lines, at) };
  const isText = (next, number) => next.trim() && !startsBlock(lines, number);
  return { kind: "paragraph", lines: [line, ...take(lines, at + 1, isText)] };
}

function take(lines, from, isPart) {
  let to = from;
  while (to < lines.length && isPart(lines[to], to)) to += 1;
  return lines.slice(from, to);
}

function startsBlock(lines, at) {
  const line = lines[at];
  return [FENCE, HEADING, RULE, QUOTE, ITEM].some((start) => start.test(line)) || isTable(lines, at);
}

function isTable(lines, at) {
  return lines[at].includes("|") && at + 1 < lines.length && DELIMITERS.test(lines[at + 1]);
}

function fence(lines, at) {
  const [, mark, language] = FENCE.exec(lines[at]);
  const closes = (line) => line.trim().startsWith(mark) && !line.trim().replaceAll(mark[0], "");
  let to = at + 1;
  while (to < lines.length && !closes(lines[to])) to += 1;
  const code = lines.slice(at + 1, to).join("\n");
  return { kind: "code", language, code, lines: lines.slice(at, to + 1) };
}

// A list goes on through blank lines while what follows is an item or indented.
function takeList(lines, at) {
  let to = at + 1;
  for (let next = to; next < lines.length; next += 1) {
    if (!lines[next].trim()) continue;
    const wasBlank = next > to;
    if (!ITEM.test(lines[next]) && !/^\s{2,}/.test(lines[next]) && (wasBlank || startsBlock(lines, next))) break;
    to = next + 1;
  }
  return lines.slice(at, to);
}

// Return the node of a block.  `onCode` may add to the frame of a code block.
export function render(block, onCode = () => {}, depth = 0) {
  switch (block.kind) {
    case "code": return codeNode(block, onCode);
    case "heading": return headingNode(block.lines[0]);
    case "rule": return document.createElement("hr");
    case "table": return tableNode(block.lines);
    case "quote": return quoteNode(block.lines, onCode, depth);
    case "list": return listNode(block.lines, onCode, depth);
    default: return withInline("p", block.lines.map((line) => line.trim()).join("\n"));
  }
}

function codeNode({ language, code }, onCode) {
  const frame = document.createElement("figure");
  const pre = document.createElement("pre");
  // Readers that use the keyboard must be able to scroll it.
  pre.tabIndex = 0;
  pre.append(Object.assign(document.createElement("code"), { textContent: code }));
  frame.append(pre);
  onCode(frame, code, language);
  return frame;
}

function headingNode(line) {
  const [, marks, text] = HEADING.exec(line);
  // The page has the levels 1 and 2 itself.
  return withInline(`h${Math.min(6, marks.length + 2)}`, text);
}

function tableNode(lines) {
  const [head, delimiters, ...rows] = lines.map(cellsOf);
  const sides = delimiters.map((cell) => (cell.endsWith(":") ? (cell.startsWith(":") ? "center" : "right") : ""));
  const table = document.createElement("table");
  const row = (cells, tag) => {
    const node = document.createElement("tr");
    node.append(...head.map((_, column) => {
      const cell = withInline(tag, cells[column] ?? "");
      if (sides[column]) cell.className = sides[column];
      return cell;
    }));
    return node;
  };
  table.createTHead().append(row(head, "th"));
  table.createTBody().append(...rows.map((cells) => row(cells, "td")));
  const frame = document.createElement("div");
  frame.className = "wide";
  frame.append(table);
  return frame;
}

function cellsOf(line) {
  const bare = line.trim().replace(/^\|/, "").replace(/\|$/, "");
  return bare.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
}

function quoteNode(lines, onCode, depth) {
  const quote = document.createElement("blockquote");
  quote.append(...inner(lines.map((line) => QUOTE.exec(line)[1]), onCode, depth));
  return quote;
}

function listNode(lines, onCode, depth) {
  const [, indent, mark] = ITEM.exec(lines[0]);
  const list = document.createElement(/\d/.test(mark) ? "ol" : "ul");
  if (list.tagName === "OL" && parseInt(mark, 10) !== 1) list.start = parseInt(mark, 10);
  const items = [];
  for (const line of lines) {
    const item = ITEM.exec(line);
    if (item && item[1].length <= indent.length + 1) items.push([item[3]]);
    else items.at(-1).push(line.slice(Math.min(line.search(/\S|$/), indent.length + 3)));
  }
  list.append(...items.map((item) => {
    const node = document.createElement("li");
    const content = inner(item, onCode, depth);
    // A single line needs no paragraph of its own.
    if (content[0]?.tagName === "P") content.splice(0, 1, ...content[0].childNodes);
    node.append(...content);
    return node;
  }));
  return list;
}

function inner(lines, onCode, depth) {
  if (depth >= MAX_DEPTH) return [document.createTextNode(lines.join("\n"))];
  return blocksOf(lines.join("\n")).map((block) => render(block, onCode, depth + 1));
}

function withInline(tag, text) {
  const node = document.createElement(tag);
  node.append(...inline(text));
  return node;
}

const SPANS = [["**", "strong"], ["__", "strong"], ["~~", "del"], ["*", "em"], ["_", "em"]];
const PLAIN = /^[^\\`*_~[!h\n]+/;
const ADDRESS = /^https?:\/\/[^\s<>"'`]*[^\s<>"'`.,;:!?)\]*_~]/;
const LINK = /^!?\[([^\]\n]{0,1000})\]\(([^\s()]*(?:\([^\s()]*\)[^\s()]*)*)(?:\s+"[^"\n]*")?\)/;

function inline(text, depth = 0) {
  if (text.length > MAX_INLINE || depth > MAX_DEPTH) return [document.createTextNode(text)];
  const nodes = [];
  let plain = "";
  const flush = () => {
    if (plain) nodes.push(document.createTextNode(plain));
    plain = "";
  };
  for (let at = 0; at < text.length; ) {
    const found = spanAt(text, at, depth);
    if (found) {
      flush();
      nodes.push(found.node);
      at += found.length;
      continue;
    }
    if (text[at] === "\\" && /[!-/:-@[-`{-~]/.test(text[at + 1] ?? "")) at += 1;
    const run = PLAIN.exec(text.slice(at, at + 500))?.[0] ?? text[at];
    plain += run;
    at += run.length;
  }
  flush();
  return nodes;
}

function spanAt(text, at, depth) {
  const first = text[at];
  if (first === "\n") return { node: document.createElement("br"), length: 1 };
  if (first === "`") return codeSpan(text, at);
  if (first === "[" || (first === "!" && text[at + 1] === "[")) return linkSpan(text, at, depth);
  if (first === "h") return addressSpan(text, at);
  for (const [mark, tag] of SPANS) {
    if (!text.startsWith(mark, at)) continue;
    const end = closing(text, mark, at);
    if (end < 0) return null;
    const node = document.createElement(tag);
    node.append(...inline(text.slice(at + mark.length, end), depth + 1));
    return { node, length: end + mark.length - at };
  }
  return null;
}

// Where the closing mark is, or -1.  Underscores inside a word are part of it.
function closing(text, mark, at) {
  const from = at + mark.length;
  if (/\s/.test(text[from] ?? " ")) return -1;
  if (mark[0] === "_" && /\w/.test(text[at - 1] ?? "")) return -1;
  for (let end = text.indexOf(mark, from + 1); end >= 0; end = text.indexOf(mark, end + mark.length)) {
    const after = text[end + mark.length] ?? "";
    const isInside = /\s/.test(text[end - 1]) || text[end - 1] === "\\" || (mark[0] === "_" && /\w/.test(after));
    const isLonger = mark.length === 1 && (after === mark || text[end - 1] === mark);
    if (!isInside && !isLonger) return end;
  }
  return -1;
}

function codeSpan(text, at) {
  const mark = /^`+/.exec(text.slice(at, at + 50))[0];
  const end = text.indexOf(mark, at + mark.length);
  if (end < 0) return null;
  const node = document.createElement("code");
  node.textContent = text.slice(at + mark.length, end).replace(/^ (.*) $/, "$1");
  return { node, length: end + mark.length - at };
}

function linkSpan(text, at, depth) {
  const found = LINK.exec(text.slice(at, at + 3000));
  if (!found) return null;
  const [whole, label, address] = found;
  const isPicture = whole.startsWith("!");
  if (isPicture && isPictureData(address)) {
    return { node: Object.assign(document.createElement("img"), { src: address, alt: label }), length: whole.length };
  }
  // A picture elsewhere would tell its host who reads this, so it is only a link.
  if (!/^(https?:\/\/|mailto:)/i.test(address)) return null;
  const link = linkTo(address);
  link.append(...(isPicture ? [document.createTextNode(label || address)] : inline(label || address, depth + 1)));
  return { node: link, length: whole.length };
}

function addressSpan(text, at) {
  const found = ADDRESS.exec(text.slice(at, at + 2000));
  if (!found || /\w/.test(text[at - 1] ?? "")) return null;
  const link = linkTo(found[0]);
  link.textContent = found[0];
  return { node: link, length: found[0].length };
}

function linkTo(address) {
  const link = document.createElement("a");
  return Object.assign(link, { href: address, target: "_blank", rel: "noopener noreferrer" });
}

// Say whether an address is the data of a picture that cannot run anything (SVG can).
export function isPictureData(address) {
  return /^data:image\/(png|jpeg|gif|webp|avif);base64,[A-Za-z0-9+/=]+$/.test(address);
}
