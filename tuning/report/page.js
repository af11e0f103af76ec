"use strict";
// One trial is marked in every chart and in the table by its number, `data-t`.
const all = new Map();
for (const element of document.querySelectorAll("[data-t]")) {
  const number = element.dataset.t;
  if (!all.has(number)) all.set(number, []);
  all.get(number).push(element);
}
const tip = document.getElementById("tip");
const table = document.querySelector(".trials");
const titles = table ? [...table.tHead.rows[0].cells].map((cell) => cell.textContent) : [];
const lines = new Map(table ? [...table.tBodies[0].rows].map((row) => [row.dataset.t, row]) : []);
const pinned = new Set();
let hovered = null;

function mark(number, on) {
  for (const element of all.get(number) || []) element.classList.toggle("on", on);
}

function hover(number, event) {
  if (number !== hovered) {
    if (hovered !== null && !pinned.has(hovered)) mark(hovered, false);
    hovered = number;
    if (number !== null) mark(number, true);
    tip.hidden = number === null || !lines.has(number);
    if (!tip.hidden) describe(lines.get(number));
  }
  if (!tip.hidden && event) {
    const { offsetWidth: width, offsetHeight: height } = tip;
    const left = event.clientX + 16 + width > innerWidth ? event.clientX - 16 - width : event.clientX + 16;
    tip.style.left = `${Math.max(4, left)}px`;
    tip.style.top = `${Math.max(4, Math.min(event.clientY + 14, innerHeight - height - 4))}px`;
  }
}

function describe(line) {
  tip.replaceChildren();
  [...line.cells].forEach((cell, i) => {
    const text = cell.textContent;
    if (!text) return;
    const part = document.createElement(i ? "div" : "b");
    part.textContent = `${titles[i]} ${text}`;
    tip.append(part);
  });
}

function pin(number) {
  if (pinned.delete(number)) mark(number, false);
  else {
    pinned.add(number);
    mark(number, true);
  }
}

// The nearest trial to the pointer, so that nobody has to hit a line of one pixel.
function pointsOf(shape) {
  shape.points ??= (shape.getAttribute("d") || "").split("M").slice(1)
    .map((part) => part.split("L").map((pair) => pair.split(",").map(Number)));
  return shape.points;
}

function distance(shape, x, y) {
  if (shape.tagName === "circle") return Math.hypot(shape.cx.baseVal.value - x, shape.cy.baseVal.value - y);
  let best = Infinity;
  for (const points of pointsOf(shape)) {
    for (let i = 0; i + 1 < points.length; i++) {
      const [[x0, y0], [x1, y1]] = [points[i], points[i + 1]];
      if (x < x0 - 6 || x > x1 + 6) continue;
      const t = x1 > x0 ? Math.min(1, Math.max(0, (x - x0) / (x1 - x0))) : 0;
      // Across the line, not straight up: steep lines are as near as they look.
      best = Math.min(best, Math.abs(y0 + t * (y1 - y0) - y) / Math.hypot(1, (y1 - y0) / (x1 - x0 || 1)));
    }
  }
  return best;
}

function nearest(svg, event) {
  const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
  let found = null;
  let least = 18;
  for (const shape of svg.shapes ??= [...svg.querySelectorAll("[data-t]")]) {
    const away = shape.classList.contains("out") ? Infinity : distance(shape, at.x, at.y);
    if (away <= least) [found, least] = [shape.dataset.t, away];
  }
  return found;
}

for (const svg of document.querySelectorAll("svg")) {
  svg.addEventListener("pointermove", (event) => hover(nearest(svg, event), event));
  svg.addEventListener("pointerleave", () => hover(null));
  svg.addEventListener("click", (event) => {
    const number = event.target.classList.contains("strip") ? null : nearest(svg, event);
    if (number !== null) pin(number);
  });
}
for (const row of document.querySelectorAll("tr[data-t]")) {
  row.addEventListener("pointerenter", () => mark(row.dataset.t, true));
  row.addEventListener("pointerleave", () => pinned.has(row.dataset.t) || mark(row.dataset.t, false));
  row.addEventListener("click", (event) => event.target.closest("a") || pin(row.dataset.t));
}

// Dragging along an axis of the parallel coordinates keeps the trials that pass there.
const kept = new Map();
const chart = document.querySelector(".parallel");

function filter() {
  const paths = chart ? [...chart.querySelectorAll(".line")] : [];
  const shown = new Set(paths.filter((line) => [...kept].every(([x, [low, high]]) =>
    pointsOf(line)[0].some(([px, py]) => px === x && py >= low && py <= high))).map((line) => line.dataset.t));
  for (const [number, elements] of all) {
    const out = kept.size > 0 && !shown.has(number);
    for (const element of elements) element.classList.toggle("out", out);
  }
  for (const place of document.querySelectorAll(".selection")) {
    place.replaceChildren();
    if (!kept.size) continue;
    const button = document.createElement("button");
    button.textContent = "show all";
    button.onclick = letGo;
    place.append(`${shown.size} of ${paths.length} trials kept`, button);
  }
}

function letGo() {
  kept.clear();
  for (const box of document.querySelectorAll(".kept")) box.remove();
  filter();
}

for (const dimension of chart ? chart.querySelectorAll(".dimension") : []) {
  const strip = dimension.querySelector(".strip");
  const x = Number(dimension.dataset.x);
  const top = strip.y.baseVal.value;
  const floor = top + strip.height.baseVal.value;
  const height = (event) => {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(chart.getScreenCTM().inverse());
    return Math.min(Math.max(at.y, top), floor);
  };
  let start = null;
  strip.addEventListener("pointerdown", (event) => {
    start = height(event);
    strip.setPointerCapture(event.pointerId);
  });
  strip.addEventListener("pointermove", (event) => {
    if (start === null) return;
    const [low, high] = [start, height(event)].sort((a, b) => a - b);
    let box = dimension.querySelector(".kept");
    if (!box) {
      box = document.createElementNS("http://www.w3.org/2000/svg", "rect");
      box.setAttribute("class", "kept");
      box.setAttribute("x", x - 7);
      box.setAttribute("width", 14);
      dimension.append(box);
    }
    box.setAttribute("y", low);
    box.setAttribute("height", high - low);
    kept.set(x, [low, high]);
    filter();
  });
  strip.addEventListener("pointerup", (event) => {
    if (Math.abs(height(event) - start) < 3) {
      kept.delete(x);
      dimension.querySelector(".kept")?.remove();
      filter();
    }
    start = null;
  });
}

// A click on a title sorts the table: numbers as numbers, cells without one last.
const key = (row, i) => row.cells[i].dataset.v ?? row.cells[i].textContent;

function sort(i, header) {
  const down = header.getAttribute("aria-sort") === "ascending";
  for (const other of header.parentNode.cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", down ? "descending" : "ascending");
  const rows = [...table.tBodies[0].rows].sort((a, b) => {
    const [left, right] = [key(a, i), key(b, i)];
    if (left === "" || right === "") return (left === "") - (right === "");
    const order = left - right || String(left).localeCompare(right);
    return down ? -order : order;
  });
  table.tBodies[0].append(...rows);
}
titles.forEach((_, i) => {
  const header = table.tHead.rows[0].cells[i];
  header.firstChild.addEventListener("click", () => sort(i, header));
});

for (const button of document.querySelectorAll(".copy")) {
  button.addEventListener("click", async () => {
    const code = button.previousElementSibling;
    try {
      await navigator.clipboard.writeText(code.textContent);
    } catch {
      getSelection().selectAllChildren(code); // a sandboxed frame may not write to the clipboard
      document.execCommand("copy");
    }
    button.textContent = "copied";
    setTimeout(() => (button.textContent = "copy"), 1500);
  });
}
