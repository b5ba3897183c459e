"use strict";
// An entry's page: copy the command, and step through the recorded games. Text of games only ever becomes text nodes.

const SVG = "http://www.w3.org/2000/svg";
const show = (value, digits = 2) =>
  value === null ? "–" : (Number(value.toFixed(digits)) || 0).toFixed(digits).replace("-", "−");
const signed = (value, digits = 2) => (value > 0 ? "+" : "") + show(value, digits);
const plain = (value) => String(Number(value.toFixed(4)) || 0).replace("-", "−");
const visible = (text) => text.replaceAll("\n", "⏎").replaceAll("\t", "⇥");

/** Make an element; children are nodes or text. */
function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function drawn(tag, attributes) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

/** A game as it is kept in the page, with what can be worked out from it. */
function game({ turns, last, ...rest }) {
  let earned = 0;
  const seen = turns.map(([observation, action, reward, invalid, tokens]) => {
    earned += reward;
    const chips = tokens.map(([text, probability, q = null, v = null]) => ({
      text, probability, q, v, advantage: q === null || v === null ? null : q - v,
    }));
    return { observation, action, reward, invalid, chips, earned, value: chips.length ? chips[0].v : null };
  });
  const advantages = seen.flatMap((turn) => turn.chips.map((chip) => Math.abs(chip.advantage ?? 0)));
  const spread = advantages.reduce((most, one) => Math.max(most, one), 0);
  return { ...rest, turns: seen, last, spread };
}

class Player {
  constructor(root, games) {
    this.root = root;
    this.games = games.map(game);
    this.find = (name) => root.querySelector(`.${name}`);
    this.slider = this.find("place");
    this.find("first").addEventListener("click", () => this.go(0));
    this.find("back").addEventListener("click", () => this.go(this.at - 1));
    this.find("next").addEventListener("click", () => this.go(this.at + 1));
    this.find("final").addEventListener("click", () => this.go(this.end));
    this.slider.addEventListener("input", () => this.go(Number(this.slider.value)));
    this.picks = [...root.querySelectorAll(".pick")];
    this.picks.forEach((pick, place) => pick.addEventListener("click", () => this.open(place)));
    this.find("said").addEventListener("keydown", (event) => this.amongChips(event));
    document.addEventListener("keydown", (event) => this.arrow(event));
    root.hidden = false;
    this.open(Math.max(0, this.games.findIndex((one) => one.rank === "middle")));
  }

  /** The last place: after the last turn there may be one more observation. */
  get end() {
    return this.now.turns.length - (this.now.last === null ? 1 : 0);
  }

  open(place) {
    this.now = this.games[place];
    this.picks.forEach((pick, which) => pick.setAttribute("aria-pressed", String(which === place)));
    this.slider.max = String(Math.max(0, this.end));
    const items = this.now.turns.map((turn, number) => {
      const parts = [String(number + 1), visible(turn.action), signed(turn.reward)].map((text) => make("span", {}, text));
      const button = make("button", { type: "button" }, ...parts);
      button.addEventListener("click", () => this.go(number));
      return make("li", {}, button);
    });
    this.find("turns").replaceChildren(...items);
    this.drawWorth();
    this.go(0);
  }

  go(place) {
    this.at = Math.min(Math.max(place, 0), Math.max(0, this.end));
    const turn = this.now.turns[this.at]; // undefined after the last action
    const count = this.now.turns.length;
    this.slider.value = String(this.at);
    const where = turn ? `Turn ${this.at + 1} of ${count}` : `After turn ${count}, ${this.outcome()}`;
    this.slider.setAttribute("aria-valuetext", where);
    const reward = turn ? `reward ${signed(turn.reward)}${turn.invalid ? " (invalid action)" : ""}, ` : "";
    const earned = turn ? turn.earned : this.now.total;
    const value = turn && turn.value !== null ? `, expected from here ${show(turn.value)}` : "";
    this.find("status").textContent = `${where}: ${reward}return so far ${show(earned)}${value}`;
    this.find("seen").textContent = turn ? turn.observation : this.now.last ?? "";
    this.find("act").hidden = !turn;
    this.find("said").replaceChildren(...(turn ? this.chips(turn) : []));
    this.find("told").textContent = turn && turn.chips.length ? "Point at a token, or move to it with Tab, for its numbers." : "";
    // Not `disabled`, which would take the focus away from who steps by key.
    const [start, stop] = [this.at === 0, this.at === Math.max(0, this.end)].map(String);
    for (const name of ["first", "back"]) this.find(name).setAttribute("aria-disabled", start);
    for (const name of ["next", "final"]) this.find(name).setAttribute("aria-disabled", stop);
    this.mark();
  }

  outcome() {
    const solved = this.now.success === null ? "" : this.now.success ? ", solved" : ", not solved";
    return `${this.now.ended}${solved}`;
  }

  chips(turn) {
    if (!turn.chips.length) return [make("li", {}, turn.action || "(nothing)")];
    return turn.chips.map((chip, place) => {
      const told = this.told(chip);
      const button = make("button", { type: "button", class: "chip", tabindex: place ? "-1" : "0", "aria-label": told }, visible(chip.text));
      if (chip.advantage === null) {
        button.classList.add("likely");
        button.style.setProperty("--much", String(chip.probability ?? 0));
      } else if (chip.advantage !== 0) {
        button.classList.add(chip.advantage > 0 ? "good" : "bad");
        // The root, because one decisive token would leave all others pale.
        button.style.setProperty("--much", Math.sqrt(Math.abs(chip.advantage) / this.now.spread).toFixed(3));
      }
      const tell = () => { this.find("told").textContent = told; };
      button.addEventListener("mouseenter", tell);
      button.addEventListener("focus", tell);
      return make("li", {}, button);
    });
  }

  told({ text, probability, q, v, advantage }) {
    const numbers = [`probability ${probability === null ? "–" : plain(probability)}`];
    if (q !== null) numbers.push(`Q ${show(q, 3)}`);
    if (v !== null) numbers.push(`V ${show(v, 3)}`);
    if (advantage !== null) numbers.push(`advantage ${signed(advantage, 3)}`);
    return `“${visible(text)}”: ${numbers.join(", ")}`;
  }

  /** Left and right step through the game, unless they mean something else where the focus is. */
  arrow(event) {
    const way = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!way || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey || event.defaultPrevented) return;
    if (event.target.closest?.("input, textarea, select, .scroll")) return;
    event.preventDefault();
    this.go(this.at + way);
  }

  /** Inside of an action, left and right move from token to token, so that Tab stops there once. */
  amongChips(event) {
    const way = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const chips = [...this.find("said").querySelectorAll(".chip")];
    const place = chips.indexOf(event.target);
    if (!way || place < 0) return;
    event.preventDefault();
    const next = chips[Math.min(Math.max(place + way, 0), chips.length - 1)];
    chips.forEach((chip) => { chip.tabIndex = chip === next ? 0 : -1; });
    next.focus();
  }

  /** Return so far, and what was expected of the whole game where the policy had learned values. */
  drawWorth() {
    const { turns } = this.now;
    const before = turns.map((turn) => turn.earned - turn.reward);
    const lines = [["return-line", turns.map((turn) => turn.earned)]];
    if (turns.some((turn) => turn.value !== null)) {
      lines.push(["value-line", turns.map((turn, place) => (turn.value === null ? null : turn.value + before[place]))]);
    }
    const all = lines.flatMap(([, values]) => values.filter((value) => value !== null));
    const [low, high] = [Math.min(...all), Math.max(...all)];
    this.across = (place) => 52 + (360 * place) / Math.max(1, turns.length - 1);
    const up = (value) => 88 - (78 * (value - low)) / (high - low || 1);
    const svg = drawn("svg", { viewBox: "0 0 420 100", "aria-hidden": "true" });
    for (const [kind, values] of lines) {
      const points = values.flatMap((value, place) => (value === null ? [] : [`${this.across(place).toFixed(1)} ${up(value).toFixed(1)}`]));
      svg.append(drawn("path", { class: kind, d: `M${points.join(" ")}` }));
    }
    for (const value of low === high ? [low] : [low, high]) {
      const text = drawn("text", { x: 46, y: up(value) + 4, "text-anchor": "end" });
      text.textContent = plain(Number(value.toPrecision(3)));
      svg.append(text);
    }
    this.cursor = drawn("line", { class: "cursor", y1: 4, y2: 94 });
    svg.append(this.cursor);
    this.find("worth").hidden = turns.length < 2;
    this.find("worth-values").hidden = lines.length < 2;
    this.find("worth-plot").replaceChildren(svg);
  }

  mark() {
    const place = Math.min(this.at, this.now.turns.length - 1);
    for (const name of ["x1", "x2"]) this.cursor.setAttribute(name, this.across(place).toFixed(1));
    const list = this.find("turns");
    list.querySelector("[aria-current]")?.removeAttribute("aria-current");
    const button = list.children[this.at]?.firstChild;
    if (!button) return;
    button.setAttribute("aria-current", "step");
    // Within its own box: the page itself must not jump.
    const { top, bottom } = button.getBoundingClientRect();
    const box = list.getBoundingClientRect();
    if (top < box.top) list.scrollTop += top - box.top;
    if (bottom > box.bottom) list.scrollTop += bottom - box.bottom;
  }
}

const games = document.getElementById("games");
if (games) new Player(document.querySelector(".player"), JSON.parse(games.textContent));

for (const button of document.querySelectorAll(".copy")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const text = button.parentElement.querySelector("pre");
    try {
      await navigator.clipboard.writeText(text.textContent);
      button.textContent = "Copied";
    } catch { // not allowed here: mark it, so that the reader's own keys copy it
      getSelection().selectAllChildren(text);
      button.textContent = "Selected";
    }
  });
}
