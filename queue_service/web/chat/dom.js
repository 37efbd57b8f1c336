// Nodes and buttons that the pages share.

const SHOW_COPIED_MS = 1500;

// Return a node: make("button", {type: "button"}, "Copy").
export function make(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

export function action(name, onClick) {
  const button = make("button", { type: "button" }, name);
  button.addEventListener("click", onClick);
  return button;
}

// A button that copies what `text` returns, or a promise of it.
export function copyButton(text) {
  const button = action("Copy", async () => {
    button.textContent = (await copy(await text())) ? "Copied" : "Not copied";
    setTimeout(() => { button.textContent = "Copy"; }, SHOW_COPIED_MS);
  });
  return button;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Over plain HTTP there is no clipboard object, only the old command.
    const area = make("textarea", { value: text, className: "unseen" });
    document.body.append(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    return copied;
  }
}
