// Tables that sort by a click on a column's head and are filtered by words, and a scatter plot.
// A page has them in <div class="sortable"> and <div id="scatter" data-points="[...]">.
(() => {
  "use strict";

  const UNITS = { K: 1e3, M: 1e6, G: 1e9 };

  // "145,578", "24.7M", "76.9%" and "19 min" as numbers; NaN for other text.
  function number(text) {
    const found = text.match(/^([\d,]*\.?\d+)([KMG]?)(?![a-z\d])/);
    return found ? parseFloat(found[1].replaceAll(",", "")) * (UNITS[found[2]] ?? 1) : NaN;
  }

  const textOf = (row, column) => row.cells[column].textContent.trim();

  // Sorts the rows by one column; rows that have nothing there stay at the end.
  function sort(body, column, direction) {
    const rows = [...body.rows];
    const filled = rows.filter((row) => textOf(row, column));
    const numeric = filled.every((row) => !Number.isNaN(number(textOf(row, column))));
    filled.sort((a, b) => {
      const [x, y] = [textOf(a, column), textOf(b, column)];
      return direction * (numeric ? number(x) - number(y) : x.localeCompare(y));
    });
    body.append(...filled, ...rows.filter((row) => !textOf(row, column)));
  }

  function makeSortable(table) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const direction = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
        sort(table.tBodies[0], column, direction);
      });
    });
  }

  // A field above the table: rows that lack one of its words are hidden.
  function makeFilter(place, table, changed) {
    const field = document.createElement("input");
    field.type = "search";
    field.placeholder = "Filter by words";
    field.setAttribute("aria-label", "Filter the table by words");
    const count = document.createElement("output");
    const rows = [...table.tBodies[0].rows];
    const update = () => {
      const words = field.value.toLowerCase().split(/\s+/);
      for (const row of rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
      }
      const shown = rows.filter((row) => !row.hidden);
      count.textContent = `${shown.length} of ${rows.length}`;
      changed(new Set(shown.map((row) => textOf(row, 0))));
    };
    field.addEventListener("input", update);
    const line = document.createElement("div");
    line.className = "filter";
    line.append(field, count);
    place.prepend(line);
    update();
  }

  // The scatter plot: accuracy over parameters, filled as measured, hollow as printed.

  const WIDTH = 720, HEIGHT = 420;
  const LEFT = 50, RIGHT = 140, TOP = 16, BOTTOM = 44;

  function draw(parent, name, attributes, text) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    parent.append(element);
    return element;
  }

  const short = (n) => (n >= 1e6 ? `${n / 1e6}M` : n >= 1e3 ? `${n / 1e3}K` : `${n}`);

  function drawScatter(place) {
    const points = JSON.parse(place.dataset.points);
    const papers = [...new Set(points.map((point) => point.paper))];
    const svg = draw(place, "svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
    draw(svg, "title", {}, "Accuracy against trainable parameters");

    const logs = points.map((point) => Math.log10(point.parameters));
    const [least, most] = [Math.min(...logs) - 0.15, Math.max(...logs) + 0.15];
    const heights = points.flatMap((p) => [p.accuracy, p.printed ?? p.accuracy]);
    const low = 5 * Math.floor(Math.min(...heights) / 5 - 0.2);
    const high = Math.min(100, 5 * Math.ceil(Math.max(...heights) / 5 + 0.2));
    const x = (n) => LEFT + ((Math.log10(n) - least) / (most - least)) * (WIDTH - LEFT - RIGHT);
    const y = (percent) => TOP + ((high - percent) / (high - low)) * (HEIGHT - TOP - BOTTOM);

    drawAxes(svg, x, y, [least, most], [low, high]);
    const boxes = [];
    for (const point of [...points].sort((a, b) => b.accuracy - a.accuracy)) {
      const group = drawPoint(svg, point, papers.indexOf(point.paper), x, y);
      const [cx, cy] = [x(point.parameters), y(point.accuracy)];
      const width = 7 * point.model.length; // about
      const crossed = points.some((other) => {
        const right = x(other.parameters) - cx, top = y(other.printed ?? other.accuracy);
        return right > 9 && right < 9 + width && top < cy + 9 && cy - 9 < y(other.accuracy);
      });
      const box = { x: crossed ? cx - 9 - width : cx + 9, y: cy + 4, width };
      drawLabel(group, point.model, box, crossed, boxes);
    }
    const legend = document.createElement("p");
    legend.className = "legend";
    papers.forEach((paper, i) => {
      const entry = document.createElement("span");
      entry.className = `paper-${i}`;
      entry.textContent = paper;
      legend.append(entry);
    });
    place.append(legend);
  }

  function drawAxes(svg, x, y, [least, most], [low, high]) {
    for (let decade = Math.floor(least); decade <= most; decade++) {
      for (const n of [1, 2, 5].map((digit) => digit * 10 ** decade)) {
        if (Math.log10(n) < least || Math.log10(n) > most) continue;
        draw(svg, "line", { class: "grid", x1: x(n), x2: x(n), y1: y(high), y2: y(low) });
        draw(svg, "text", { class: "tick", x: x(n), y: y(low) + 18, "text-anchor": "middle" }, short(n));
      }
    }
    for (let percent = low; percent <= high; percent += 5) {
      const [x1, x2] = [LEFT, WIDTH - RIGHT];
      draw(svg, "line", { class: "grid", x1, x2, y1: y(percent), y2: y(percent) });
      const at = { class: "tick", x: LEFT - 8, y: y(percent) + 4, "text-anchor": "end" };
      draw(svg, "text", at, `${percent}%`);
    }
    const middle = (LEFT + WIDTH - RIGHT) / 2;
    const at = { class: "tick", x: middle, y: HEIGHT - 6, "text-anchor": "middle" };
    draw(svg, "text", at, "trainable parameters");
  }

  function drawPoint(svg, point, paper, x, y) {
    const link = draw(svg, "a", { class: `point paper-${paper}`, href: `${point.record}/card.html` });
    link.dataset.model = point.model;
    const measured = `${point.record}: ${point.accuracy.toFixed(1)}% in ${point.epochs} epochs`;
    const printed = point.printed ? `, the paper prints ${point.printed}%` : "";
    draw(link, "title", {}, measured + printed);
    const [cx, cy] = [x(point.parameters), y(point.accuracy)];
    if (point.printed) {
      draw(link, "line", { x1: cx, x2: cx, y1: cy, y2: y(point.printed) });
      draw(link, "circle", { class: "printed", cx, cy: y(point.printed), r: 5 });
    }
    draw(link, "circle", { cx, cy, r: 5 });
    return link;
  }

  // A name beside its point, moved down while it would cover another one.
  function drawLabel(group, name, box, onTheLeft, boxes) {
    const end = (b) => b.x + b.width;
    const covers = (b) => Math.abs(b.y - box.y) < 13 && b.x < end(box) && box.x < end(b);
    while (boxes.some(covers)) box.y += 1;
    boxes.push(box);
    const side = onTheLeft ? { x: end(box), "text-anchor": "end" } : { x: box.x };
    draw(group, "text", { ...side, y: box.y }, name);
  }

  const place = document.getElementById("scatter");
  if (place) drawScatter(place);
  for (const sortable of document.querySelectorAll(".sortable")) {
    const table = sortable.querySelector("table");
    makeSortable(table);
    if (!sortable.classList.contains("filtered")) continue;
    makeFilter(sortable, table, (shown) => {
      for (const point of document.querySelectorAll("#scatter .point"))
        point.classList.toggle("dimmed", !shown.has(point.dataset.model));
    });
  }
})();
