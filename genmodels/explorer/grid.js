// The traversal grid: a row for each of the dimensions that carry most, a column for each of the values.

const REST = 250; // ms without a move after which the grid is drawn anew

/** begin: called with a code and where it is from, when a picture is pressed. */
function drawGrid(begin) {
  const section = document.getElementById("grid"), table = make("table", "grid"), head = make("tr");
  section.hidden = false;
  section.querySelector(".wide").append(table);
  head.append(make("td"), ...about.columns.map((value) => Object.assign(make("th", "", `${written(value)}`), { scope: "col" })));
  table.createTHead().append(head);
  const body = table.createTBody(), most = Math.max(1, Math.min(about.active, about.rows));
  const rows = about.sliders.slice(0, most).map((slider) => rowOf(body, slider, begin));
  const cells = rows.flatMap((row) => row.cells);
  cells.forEach((cell, at) => {
    cell.button.tabIndex = at ? -1 : 0;
    cell.button.onkeydown = (event) => step(event, cells, at);
  });
  const redraw = () => fill(rows, cells);
  lab.settled.push(redraw);
  redraw();
}

function rowOf(body, slider, begin) {
  const line = body.insertRow(), head = make("th", "", slider.name);
  head.scope = "row";
  head.append(make("small", "", slider.told));
  line.append(head);
  const { index } = slider, [centre, spread] = [about.centre[index], about.spread[index] || 1];
  const cells = about.columns.map((column) => {
    const value = centre + spread * column, button = make("button"), canvas = pictureOf(innerWidth < 600 ? 28 : 56);
    button.type = "button";
    button.append(canvas);
    button.onclick = () => begin(codeWith(index, value), `${slider.name} at ${written(value)}`);
    line.insertCell().append(button);
    return { index, value, button, canvas, name: slider.name };
  });
  return { index, cells };
}

function codeWith(index, value) {
  const z = lab.z.slice();
  z[index] = value;
  return z;
}

/** Arrow keys move among the pictures; the Tab key leads to one of them alone. */
function step(event, cells, at) {
  const across = about.columns.length, moves = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: across, ArrowUp: -across };
  const next = cells[at + (moves[event.key] ?? NaN)];
  if (!next) return;
  event.preventDefault();
  for (const cell of cells) cell.button.tabIndex = cell === next ? 0 : -1;
  next.button.focus();
}

let filling = 0;

/** Decodes all pictures, a few at a time, so that nothing stands still meanwhile. */
function fill(rows, cells) {
  for (const { index, cells: row } of rows) {
    const away = (cell) => Math.abs(cell.value - lab.z[index]);
    const near = row.reduce((best, cell) => (away(cell) < away(best) ? cell : best));
    for (const cell of row) {
      cell.button.className = cell === near ? "near" : "";
      const here = cell === near ? ", nearest to its slider" : "";
      cell.button.setAttribute("aria-label", `${cell.name} at ${written(cell.value)}${here}`);
    }
  }
  const left = [...cells];
  cancelAnimationFrame(filling);
  const slice = () => {
    const end = performance.now() + SLICE;
    while (left.length && performance.now() < end) {
      const { canvas, index, value } = left.shift();
      paint(canvas, codeWith(index, value));
    }
    filling = left.length ? requestAnimationFrame(slice) : 0;
    document.getElementById("grid").dataset.drawn = !left.length;
  };
  slice();
}
