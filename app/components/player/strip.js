// What the meter says of every frame, from left to right: class probabilities stacked in class colours, with the name of
// a class that is at neither end written where it leads; without a judge, how many real codes are near or, where
// none are known, how far pixels jump.

const TOP = 16, HEIGHT = 44; // CSS pixels: the names of the stops, and the columns under them

function drawStrip(canvas, run, about, frame) {
  const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth, style = getComputedStyle(canvas);
  if (!width) return;
  canvas.width = width * ratio;
  canvas.height = (TOP + HEIGHT) * ratio;
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  pen.font = `12px ${style.getPropertyValue("--st-font") || "sans-serif"}`;
  const ink = style.color, step = width / about.count;
  if (run.probabilities) drawClasses(pen, run, about, step);
  else drawHeights(pen, run.neighbours.length ? run.neighbours : run.jumps, about, step);
  drawStops(pen, about, step, ink);
  pen.fillStyle = ink;
  pen.fillRect(Math.min(width - 2, (frame + 0.5) * step - 1), TOP, 2, HEIGHT);
}

function drawClasses(pen, run, about, step) {
  const classes = about.classes.length;
  for (let frame = 0; frame < about.count; frame++) {
    const [from, to] = about.ends[about.legs[frame]];
    const others = [...Array(classes).keys()].filter((c) => c !== from && c !== to);
    let bottom = TOP + HEIGHT;
    for (const c of [from, ...others, ...(to === from ? [] : [to])]) {
      const high = (HEIGHT * run.probabilities[frame * classes + c]) / 255;
      pen.fillStyle = about.colours[c % about.colours.length];
      column(pen, frame, step, bottom - high, high);
      bottom -= high;
    }
  }
  for (let first = 0, last, free = -Infinity; first < about.count; first = last) {
    last = first + 1;
    if (!run.off[first]) continue;
    while (run.off[last] && run.reads[last] === run.reads[first]) last++;
    free = nameCrossing(pen, about.classes[run.reads[first]], first * step, last * step, free);
  }
}

// Between whole pixels of the screen, so that neighbours leave no seam.
function column(pen, frame, step, top, high) {
  const ratio = window.devicePixelRatio || 1, left = Math.round(frame * step * ratio) / ratio;
  pen.fillRect(left, top, Math.round((frame + 1) * step * ratio) / ratio - left, high);
}

// Returns where the next name may begin.
function nameCrossing(pen, name, left, right, free) {
  const text = name.length > 8 ? name.slice(0, 7) + "…" : name, wide = pen.measureText(text).width;
  const x = (left + right - wide) / 2, y = TOP + HEIGHT / 2 + 4;
  if (wide > Math.max(right - left, 9) || x - 2 < free) return free; // no room: the sentences below name it
  pen.fillStyle = "#ffffffd0";
  pen.fillRect(x - 2, y - 11, wide + 4, 14);
  pen.fillStyle = "#111111";
  pen.fillText(text, x, y);
  return x + wide + 2;
}

function drawHeights(pen, values, about, step) {
  const most = Math.max(1, ...values);
  pen.fillStyle = about.colours[0];
  values.forEach((value, frame) => {
    column(pen, frame, step, TOP + HEIGHT * (1 - value / most), (HEIGHT * value) / most);
  });
}

function drawStops(pen, about, step, ink) {
  pen.fillStyle = ink;
  let free = 0; // names that would run into each other are left out
  about.stops.forEach((name, stop) => {
    const first = stop < about.ends.length ? about.legs.indexOf(stop) : about.count;
    const wide = pen.measureText(name).width;
    const x = Math.min(Math.max(0, first * step + (stop ? -wide / 2 : 0)), about.count * step - wide);
    if (x < free) return;
    pen.fillText(name, x, TOP - 4);
    free = x + wide + 6;
  });
}
