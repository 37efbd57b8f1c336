// A table whose rows stay while their numbers change: focus and selection survive an update.

import { make } from "../chat/dom.js";

// columns: [{name, className, isUnseen, cell(row)}], where a cell is a text, a node or a list of them;
// the first is the heading of its row.  isUnseen: its name is for screen readers only.  key(row): what makes it the same row later.
export class Table {
  constructor({ caption, columns, key, cards = true }) {
    Object.assign(this, { columns, key, rows: new Map() });
    this.body = make("tbody", {});
    this.node = make("table", { className: `table${cards ? " cards" : ""}` },
      make("caption", { className: "unseen" }, caption),
      make("thead", {}, make("tr", {}, ...columns.map(heading))), this.body);
    setRoles(this.node);
  }

  update(items) {
    const left = new Map(this.rows);
    for (const [at, item] of items.entries()) {
      const key = this.key(item);
      const row = this.rows.get(key) ?? this.make(key);
      left.delete(key);
      if (this.body.children[at] !== row.node) this.body.insertBefore(row.node, this.body.children[at] ?? null);
      this.fill(row, item);
    }
    for (const [key, row] of left) {
      row.node.remove();
      this.rows.delete(key);
    }
  }

  make(key) {
    const cells = this.columns.map((column, at) => {
      const cell = make("td", { className: `${column.className ?? ""}${at ? "" : " lead-cell"}` });
      cell.setAttribute("role", at ? "cell" : "rowheader");
      if (column.name && !column.isUnseen) cell.dataset.label = column.name;
      return cell;
    });
    const row = { node: make("tr", {}, ...cells), cells, shown: cells.map(() => "") };
    row.node.setAttribute("role", "row");
    this.rows.set(key, row);
    return row;
  }

  fill(row, item) {
    for (const [at, column] of this.columns.entries()) {
      const content = [column.cell(item)].flat().filter((part) => part !== null && part !== "");
      // A node that looks the same stays: it may have the focus.
      const signature = content.map((part) => part.outerHTML ?? part).join("");
      if (row.shown[at] === signature) continue;
      row.shown[at] = signature;
      row.cells[at].replaceChildren(...content);
    }
  }
}

function heading({ name, className = "", isUnseen = false }) {
  const cell = make("th", { scope: "col", className }, isUnseen ? make("span", { className: "unseen" }, name) : name);
  cell.setAttribute("role", "columnheader");
  return cell;
}

// Shown as cards, it is no table for screen readers, so the roles are set.
function setRoles(table) {
  table.setAttribute("role", "table");
  for (const group of table.querySelectorAll("thead, tbody")) group.setAttribute("role", "rowgroup");
  for (const row of table.querySelectorAll("thead tr")) row.setAttribute("role", "row");
}
