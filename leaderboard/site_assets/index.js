"use strict";
// The tables: sort by any column, and put tasks or agents in rows. All values are in the page already.

/** The table of a suite as a grid of cells that can be laid out either way. */
class BoardTable {
  constructor(table, status) {
    this.table = table;
    this.status = status;
    this.corner = table.tHead.rows[0].cells[0];
    const rows = [...table.querySelectorAll("tbody tr, tfoot tr")];
    this.tasks = rows.map((row, place) => ({ head: row.cells[0], place, last: row.parentElement === table.tFoot }));
    this.agents = [...table.tHead.rows[0].cells].slice(1).map((head, place) => ({ head, place }));
    this.cells = rows.map((row) => [...row.cells].slice(1));
    this.agentsInRows = false;
    this.sorted = null; // {line, down}: the task or agent that is sorted by; line null: by name
    this.draw();
  }

  get measure() {
    return document.querySelector("input[name=show]:checked").value;
  }

  turn(agentsInRows) {
    if (this.agentsInRows === agentsInRows) return;
    this.agentsInRows = agentsInRows;
    this.sorted = null;
    this.draw();
  }

  sortBy(line) {
    const again = this.sorted !== null && this.sorted.line === line;
    this.sorted = { line, down: again ? !this.sorted.down : line !== null };
    this.draw();
    const way = this.sorted.down ? "descending" : "ascending";
    this.status.textContent = `Sorted by ${line === null ? "name" : line.head.dataset.name}, ${way}`;
  }

  cell(row, column) {
    return this.agentsInRows ? this.cells[column.place][row.place] : this.cells[row.place][column.place];
  }

  order(rows) {
    if (this.sorted === null) return rows;
    const { line, down } = this.sorted;
    const key = (row) => {
      if (line === null) return row.head.dataset.name;
      const said = this.cell(row, line).dataset[this.measure];
      return said === undefined ? null : Number(said);
    };
    return [...rows].sort((one, other) => {
      const [a, b] = [key(one), key(other)];
      if (one.last || other.last) return Boolean(one.last) - Boolean(other.last);
      if (a === null || b === null) return (a === null) - (b === null); // empty cells stay below
      const way = line === null ? a.localeCompare(b) : a - b;
      return (down ? -way : way) || one.place - other.place;
    });
  }

  draw() {
    const focused = document.activeElement?.closest("th")?.dataset.name;
    const [rows, columns] = this.agentsInRows ? [this.agents, this.tasks] : [this.tasks, this.agents];
    const head = document.createElement("tr");
    head.append(this.heading(null), ...columns.map((column) => this.heading(column)));
    this.table.tHead.replaceChildren(head);
    const lines = this.order(rows).map((row) => {
      const line = document.createElement("tr");
      if (row.last) line.className = "counts";
      line.append(this.rowHead(row), ...columns.map((column) => this.cell(row, column)));
      return line;
    });
    this.table.tBodies[0].replaceChildren(...lines);
    this.table.tFoot?.replaceChildren();
    if (focused) [...head.cells].find((cell) => cell.dataset.name === focused)?.querySelector("button").focus();
  }

  heading(line) {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.dataset.name = line === null ? this.corner.dataset.name : line.head.dataset.name;
    if (line === null) cell.className = "first";
    if (this.sorted !== null && this.sorted.line === line) {
      cell.setAttribute("aria-sort", this.sorted.down ? "descending" : "ascending");
    }
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = line === null ? (this.agentsInRows ? "Agent" : "Task") : line.head.dataset.name;
    button.addEventListener("click", () => this.sortBy(line));
    cell.append(button);
    return cell;
  }

  rowHead(row) {
    const cell = document.createElement("th");
    cell.scope = "row";
    cell.className = "first";
    cell.dataset.name = row.head.dataset.name;
    cell.append(...[...row.head.childNodes].map((node) => node.cloneNode(true)));
    return cell;
  }
}

const boards = [...document.querySelectorAll("table.board")].map(
  (table) => new BoardTable(table, document.getElementById("status")),
);

for (const input of document.querySelectorAll("input[name=show]")) {
  input.addEventListener("change", () => boards.forEach((board) => board.draw()));
}

const turn = document.getElementById("turn");
turn.hidden = false;
turn.addEventListener("click", () => {
  const agentsInRows = turn.getAttribute("aria-pressed") !== "true";
  turn.setAttribute("aria-pressed", String(agentsInRows));
  boards.forEach((board) => board.turn(agentsInRows));
});

// A link to a task of the suite that is not shown switches to it.
function reveal() {
  let target = null;
  try {
    target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  } catch { /* not a name */ }
  const suite = target?.closest("[data-suite]")?.dataset.suite;
  const choice = suite && document.getElementById(`suite-${suite}`);
  if (!choice || choice.checked) return;
  choice.checked = true;
  target.scrollIntoView();
}
addEventListener("hashchange", reveal);
reveal();
