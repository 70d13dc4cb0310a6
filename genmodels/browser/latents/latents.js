// One slider for each latent dimension, and the image that they make, in the same frame.
//
// view = {data, component, root, z, strengths, rows, ...}: z are the values of all dimensions, strengths those of the
// named directions. The image is decode(z + sum of strength * direction). A decoder that the page has sent runs here
// (see decoder.js); without one the route is asked, one request at a time, and then for the newest code only.

const REST = 300; // ms without a move after which the page is told
const WIDE = 736; // CSS pixels from which the sliders stand beside the pictures, as in the style sheet
const SETTLES = 1.2; // seconds in which the walk forgets its direction, about

// Streamlit calls this at first, and again with new data.
export default function (component) {
  const root = component.parentElement.querySelector(".latents");
  const view = (root.view ??= begin(root));
  Object.assign(view, { component, data: component.data });
  const shape = JSON.stringify([view.data.sliders, view.data.directions]);
  const other = view.built !== shape; // a named direction came or went, in another tab maybe
  if (other) build(view);
  view.built = shape;
  if (other || view.token !== view.data.token) restart(view);
  else paint(view);
}

// What is done once: everything listens, and the pictures fit the room there is.
function begin(root) {
  const view = { root, asking: false, walking: null };
  root.querySelector(".all").onclick = () => resetAll(view);
  root.querySelector(".walk").onclick = () => (view.walking ? stop(view) : walk(view));
  globalThis.addEventListener("latent-decoder", () => root.isConnected && view.token && restartPictures(view));
  new ResizeObserver(() => fit(view)).observe(root);
  return view;
}

// The sliders: those in use, the named directions, and those that are dead, folded away.
function build(view) {
  const place = view.root.querySelector(".sliders");
  view.root.querySelector(".walk").hidden = !view.data.walks;
  const { sliders, active, directions, dead } = view.data;
  place.replaceChildren();
  view.rows = [];
  addGroup(view, place, sliders.slice(0, active), false);
  if (directions.length) {
    place.append(make("p", "title", "Named directions"));
    addGroup(view, place, directions, true);
  }
  if (active < sliders.length) {
    const folded = make("details");
    folded.open = active === 0;
    folded.append(make("summary", "", dead));
    place.append(folded);
    addGroup(view, folded, sliders.slice(active), false);
  }
}

function addGroup(view, place, sliders, named) {
  const group = make("div", "group");
  for (const slider of sliders) {
    const row = makeRow(view, slider, named);
    view.rows.push(row);
    group.append(row.element);
  }
  place.append(group);
}

// One slider: its name and what it carries, its value, a button that puts it back, the track with a mark at the start.
function makeRow(view, slider, named) {
  const id = `s${view.rows.length}`;
  const label = Object.assign(make("label"), { htmlFor: id });
  label.append(make("b", "", slider.name), " ", make("small", "", slider.told));
  const output = Object.assign(make("output"), { htmlFor: id });
  const back = Object.assign(make("button", "", "↺"), { type: "button", title: "Reset (Delete)", disabled: true });
  const mark = make("i"), input = Object.assign(make("input"), { type: "range", id, step: "1" });
  const track = make("div", "track"), element = make("div", "one");
  track.append(mark, input);
  element.append(label, output, back, track);
  back.setAttribute("aria-label", `Reset ${slider.name}`);
  input.setAttribute("aria-label", `${slider.name}, ${slider.told}`);
  const row = { element, slider, named, input, back, output, mark };
  input.oninput = () => set(view, row, row.from + Number(input.value) * slider.step);
  input.onchange = () => tell(view);
  input.onkeydown = (event) => {
    if (event.key === "Delete") reset(view, row);
  };
  input.ondblclick = () => reset(view, row);
  back.onclick = () => reset(view, row);
  return row;
}

// Another start: all sliders go there, or to where the link says.
function restart(view) {
  const { data } = view;
  stop(view);
  Object.assign(view, { token: data.token, z: Float64Array.from(data.z), strengths: Float64Array.from(data.strengths) });
  for (const row of view.rows) {
    const { slider, input } = row;
    row.from = row.named ? 0 : data.start[slider.index];
    input.min = Math.floor((Math.min(slider.low, row.from) - row.from) / slider.step); // whole steps from the start
    input.max = Math.ceil((Math.max(slider.high, row.from) - row.from) / slider.step);
    const share = -input.min / (input.max - input.min);
    row.mark.style.left = `calc(8px + ${share} * (100% - 16px))`;
  }
  restartPictures(view);
}

// The image at the start is decoded as well: the difference is between two images of the decoder.
function restartPictures(view) {
  view.startImage = null;
  const { original } = view.data;
  view.root.querySelector(".original").hidden = !original;
  if (original) draw(view, ".original", pixelsOf(original, view.data.shape));
  const local = decoder(view);
  if (local) view.startImage = bytes(view, local(view.data.start));
  fit(view);
  paint(view);
}

const current = (view, row) => (row.named ? view.strengths[row.slider.index] : view.z[row.slider.index]);

function put(view, row, value) {
  (row.named ? view.strengths : view.z)[row.slider.index] = value;
}

function set(view, row, value) {
  stop(view);
  put(view, row, value);
  paint(view);
  tell(view);
}

function reset(view, row) {
  set(view, row, row.from);
  row.input.focus(); // its button is switched off now, and the keyboard would lose its place
}

function resetAll(view) {
  stop(view);
  for (const row of view.rows) put(view, row, row.from);
  view.z.set(view.data.start); // also those without a slider now
  paint(view);
  tell(view);
}

// --- the pictures ---------------------------------------------------------------------------------------------------

const decoder = (view) => globalThis.latentLab?.decoders.get(view.data.decoder);

// The code that is decoded: the sliders, and the directions by their strengths.
function code(view) {
  const z = Float32Array.from(view.z);
  view.data.directions.forEach(({ vector }, k) => vector.forEach((each, i) => (z[i] += view.strengths[k] * each)));
  return z;
}

function paint(view) {
  showValues(view);
  const local = decoder(view);
  if (local) show(view, bytes(view, local(code(view))));
  else ask(view);
}

// Values in [0, 1] as the page shows images: bytes, dark ink on light paper.
function bytes(view, values) {
  const light = view.data.light;
  return Uint8Array.from(values, (value) => (light ? 255 - Math.round(255 * value) : Math.round(255 * value)));
}

// The route decodes: one request at a time, and after it the newest code if there is a newer one.
async function ask(view) {
  view.stale = true;
  if (view.asking) return;
  view.asking = true;
  while (view.stale && view.root.isConnected) {
    view.stale = false;
    const { token, data, startImage } = view;
    const codes = startImage ? [code(view)] : [code(view), Float32Array.from(data.start)];
    const found = await fetched(data.route, codes, size(data)).catch((error) => error);
    if (token !== view.token) view.stale = true;
    else if (found instanceof Error) wrong(view, found.message);
    else {
      view.startImage ??= found[1];
      show(view, found[0]);
    }
  }
  view.asking = false;
}

async function fetched(route, codes, each) {
  const all = await bytesOf(route, { method: "POST", body: new Blob(codes) });
  return codes.map((_, n) => all.subarray(n * each, (n + 1) * each));
}

const size = ({ shape: [channels, height, width] }) => channels * height * width;

function wrong(view, words) {
  view.root.querySelector(".wrong").textContent = words;
}

function show(view, image) {
  const { root, data: { shape } } = view, now = pixelsOf(image, shape);
  wrong(view, "");
  draw(view, ".now", now);
  if (!view.startImage) return;
  const start = pixelsOf(view.startImage, shape);
  draw(view, ".start", start);
  const words = `Pixels differ from the start by ${(100 * shade(view, now, start)).toFixed(1)}% of full range on average.`;
  draw(view, ".difference", start);
  root.querySelector(".said").textContent = words;
  root.querySelector(".difference canvas").setAttribute("aria-label", `The difference. ${words}`);
}

const draw = ({ root }, which, pixels) => putPixels(root.querySelector(`${which} canvas`), pixels);

// Turns `start` into the difference: white where nothing changed; towards one colour where it is darker now, towards the
// other where it is lighter. -> how much changed on average, as a share of the full range.
function shade({ data: { darker, lighter } }, { data: now }, { data: start }) {
  let sum = 0;
  for (let n = 0; n < now.length; n += 4) {
    const change = (grey(now, n) - grey(start, n)) / 255, end = change < 0 ? darker : lighter;
    for (let c = 0; c < 3; c++) start[n + c] = 255 + (end[c] - 255) * Math.abs(change);
    sum += Math.abs(change);
  }
  return (4 * sum) / now.length;
}

const grey = (pixels, n) => (pixels[n] + pixels[n + 1] + pixels[n + 2]) / 3;

// Enlarged by whole factors: one large and the others below where there is room, else all in a row.
function fit({ root, data }) {
  const room = root.clientWidth;
  if (!data || !room) return;
  const most = room >= WIDE ? { now: 288, small: 88 } : { now: Math.min(168, room / 3), small: Math.min(64, (room - 32) / 5) };
  const [, height, width] = data.shape;
  for (const which of ["now", "original", "start", "difference"]) {
    const canvas = root.querySelector(`.${which} canvas`);
    const factor = Math.max(1, Math.floor((most[which] ?? most.small) / Math.max(width, height)));
    canvas.style.width = `${factor * width}px`;
    canvas.style.height = `${factor * height}px`;
  }
  const rgb = (colour) => `rgb(${colour.join(" ")})`;
  root.style.setProperty("--darker", rgb(data.darker));
  root.style.setProperty("--lighter", rgb(data.lighter));
}

function showValues(view) {
  let moved = false;
  for (const row of view.rows) {
    const value = current(view, row), steps = Math.round((value - row.from) / row.slider.step);
    const away = Math.abs(value - row.from) > 1e-9;
    if (Number(row.input.value) !== steps) row.input.value = steps;
    const text = written(value);
    row.output.textContent = text;
    row.input.setAttribute("aria-valuetext", away ? `${text}, start ${written(row.from)}` : `${text}, at the start`);
    row.back.disabled = !away;
    moved ||= away;
  }
  view.root.querySelector(".all").disabled = !moved;
}

// Two decimals, and no minus before a zero.
const written = (value) => value.toFixed(2).replace(/^-0.00$/, "0.00").replace("-", "−");

// --- the page -------------------------------------------------------------------------------------------------------

// After a rest, Python hears where the sliders are: never while they move.
function tell(view) {
  clearTimeout(view.resting);
  view.resting = setTimeout(() => {
    if (!view.root.isConnected || view.walking || view.root.querySelector("input:active")) return;
    const moved = { token: view.token, z: Array.from(view.z), strengths: Array.from(view.strengths) };
    view.component.setStateValue("moved", moved);
  }, REST);
}

// --- the walk -------------------------------------------------------------------------------------------------------

// A smooth random walk that stays where codes are: Langevin motion, critically damped, whose stationary law is the
// prior N(centre, spread^2). Where motion is not wanted, each press is one jump along it.
function walk(view) {
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const speed = new Float64Array(view.z.length);
  const start = () => {
    for (let n = 0; n < (still ? 40 : 1); n++) stepOfWalk(view, speed, 0.04);
    paint(view);
  };
  if (still) {
    start();
    tell(view);
    return;
  }
  press(view, true);
  let before = performance.now();
  const frame = (now) => {
    if (!view.walking || !view.root.isConnected) return;
    stepOfWalk(view, speed, Math.min(0.1, Math.max(0, (now - before) / 1000)));
    before = now;
    paint(view);
    view.walking = requestAnimationFrame(frame);
  };
  view.walking = requestAnimationFrame(frame);
}

function stepOfWalk({ z, data }, speed, seconds) {
  const rate = 1 / SETTLES, noise = Math.sqrt(4 * rate ** 3 * seconds);
  for (let i = 0; i < z.length; i++) {
    const spread = data.spread[i], place = z[i] - data.centre[i];
    speed[i] += seconds * (-rate * rate * place - 2 * rate * speed[i]) + noise * spread * normal();
    z[i] += seconds * speed[i];
  }
}

const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());

function stop(view) {
  if (!view.walking) return;
  cancelAnimationFrame(view.walking);
  view.walking = null;
  press(view, false);
  tell(view);
}

function press(view, on) {
  const button = view.root.querySelector(".walk");
  button.setAttribute("aria-pressed", on);
  button.textContent = on ? "Stop walking" : "Random walk";
}
