// A small drawing pad: dark ink on white paper, by mouse, finger, pen or keyboard.
//
// strokes: [{ink, width, points: [[x, y], ...]}] in pixels of the canvas; the picture is drawn anew from them, so that
// a stroke can be taken back. After each stroke the page gets the picture as a PNG data address. Where the page names a
// route, live.js shows what it makes of the drawing while one draws. Where it names a picture, `under`, one paints over
// that: it is seen through the paper, and is no part of what is drawn.

const WIDTHS = [0.5, 0.75, 1, 1.4, 2]; // of the usual pen
const MOVE = 0.03; // of the side, for one press of an arrow key
const REST = 250; // ms after a stroke until the page is told
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export default function (component) {
  const root = component.parentElement.querySelector(".pad");
  const pad = (root.pad ??= begin(root, component.data));
  Object.assign(pad, { component, usual: component.data.pen * component.data.side }); // strokes keep their width
  follow(pad, component.data.live);
  lay(pad, component.data.under);
}

// Called again when the page names another picture.
function lay(pad, address) {
  if ((pad.laid ?? null) === (address ?? null)) return;
  pad.laid = address;
  pad.under = null;
  draw(pad);
  if (!address) return;
  const picture = new Image();
  picture.onload = () => {
    if (pad.laid !== address) return;
    pad.under = picture;
    draw(pad);
  };
  picture.src = address;
}

function begin(root, data) {
  const canvas = root.querySelector(".paper");
  const pad = { root, canvas, side: data.side, strokes: [], before: null, stroke: null, pen: [data.side / 2, data.side / 2] };
  canvas.width = canvas.height = data.side;
  canvas.setAttribute("aria-label", `${data.label}. Arrow keys move the pen, with Shift held it draws.`);
  pad.ink = data.inks[0][0];
  if (data.inks.length > 1) addInks(pad, data.inks);
  canvas.onpointerdown = (event) => down(pad, event);
  canvas.onpointermove = (event) => {
    if (pad.stroke && event.buttons) add(pad, ...places(pad, event));
  };
  canvas.onpointerup = canvas.onpointercancel = () => lift(pad);
  canvas.onkeydown = (event) => key(pad, event);
  canvas.onkeyup = (event) => {
    if (event.key === "Shift") lift(pad);
  };
  canvas.onfocus = () => draw(pad);
  canvas.onblur = () => {
    lift(pad); // by Shift+Tab the focus goes before the key comes up
    draw(pad);
  };
  root.querySelector(".undo").onclick = () => change(pad, () => pad.strokes.pop());
  root.querySelector(".clear").onclick = () => change(pad, () => clear(pad));
  if (data.picture) recall(pad, data.picture);
  draw(pad);
  return pad;
}

// What was drawn before the page was left.
function recall(pad, address) {
  const picture = new Image();
  picture.onload = () => {
    pad.before = picture;
    draw(pad);
    ask(pad);
  };
  picture.src = address;
}

// inks: colour and name of each.
function addInks(pad, inks) {
  const place = pad.root.querySelector(".inks");
  const radios = inks.map(([ink, name]) => {
    const radio = Object.assign(make("button"), { type: "button", value: ink, title: name });
    radio.setAttribute("role", "radio");
    radio.setAttribute("aria-label", name);
    radio.style.setProperty("--ink", ink);
    return radio;
  });
  const choose = (ink) => {
    pad.ink = ink;
    markRadios(radios, (radio) => radio.value === ink);
  };
  place.onclick = ({ target }) => target.value && choose(target.value);
  place.onkeydown = (event) => {
    const next = nextRadio(event, radios);
    next?.click();
    next?.focus();
  };
  place.append(...radios);
  choose(pad.ink);
}

// Where the pointer was since the last event: fast strokes come with more than one place.
function places(pad, event) {
  const box = pad.canvas.getBoundingClientRect(), scale = pad.side / box.width;
  const all = event.getCoalescedEvents?.() ?? [];
  return (all.length ? all : [event]).map((each) => [(each.clientX - box.left) * scale, (each.clientY - box.top) * scale]);
}

function down(pad, event) {
  if (event.button !== 0) return;
  pad.canvas.setPointerCapture(event.pointerId);
  begun(pad, places(pad, event)[0]);
}

function begun(pad, place) {
  const width = WIDTHS[pad.root.querySelector("input").value - 1] * pad.usual;
  pad.stroke = { ink: pad.ink, width, points: [] };
  pad.strokes.push(pad.stroke);
  add(pad, place);
}

function add(pad, ...points) {
  pad.stroke.points.push(...points);
  pad.pen = points.at(-1);
  draw(pad);
  ask(pad);
}

function lift(pad) {
  if (!pad.stroke) return;
  pad.stroke = null;
  tell(pad);
}

function key(pad, event) {
  const way = ARROWS[event.key];
  if (!way) return;
  event.preventDefault();
  if (event.shiftKey && !pad.stroke) begun(pad, pad.pen);
  const place = pad.pen.map((at, axis) => Math.min(pad.side, Math.max(0, at + way[axis] * MOVE * pad.side)));
  if (pad.stroke) add(pad, place);
  else pad.pen = place;
  draw(pad);
}

function clear(pad) {
  pad.strokes = [];
  pad.before = null;
}

function change(pad, what) {
  what();
  draw(pad);
  ask(pad);
  tell(pad);
}

function draw(pad) {
  const paper = pad.canvas.getContext("2d");
  ink(pad, paper);
  if (pad.under) through(pad, paper);
  for (const [name, off] of [["undo", !pad.strokes.length], ["clear", blank(pad)]]) {
    pad.root.querySelector(`.${name}`).disabled = off;
  }
  if (pad.canvas.matches(":focus-visible")) cross(pad, paper);
}

// The picture itself.
function ink(pad, paper) {
  paper.fillStyle = "#fff";
  paper.fillRect(0, 0, pad.side, pad.side);
  if (pad.before) paper.drawImage(pad.before, 0, 0, pad.side, pad.side);
  for (const stroke of pad.strokes) {
    Object.assign(paper, { strokeStyle: stroke.ink, lineWidth: stroke.width, lineCap: "round", lineJoin: "round" });
    paper.beginPath();
    paper.moveTo(...stroke.points[0]);
    for (const point of stroke.points) paper.lineTo(...point); // one point alone is a dot
    paper.stroke();
  }
}

// The picture under white paper; what is drawn covers it.
function through(pad, paper) {
  const drawn = paper.getImageData(0, 0, pad.side, pad.side);
  paper.imageSmoothingEnabled = false;
  paper.drawImage(pad.under, 0, 0, pad.side, pad.side);
  const seen = paper.getImageData(0, 0, pad.side, pad.side);
  for (let n = 0; n < drawn.data.length; n += 4) {
    if (drawn.data[n] + drawn.data[n + 1] + drawn.data[n + 2] < 3 * 250) seen.data.set(drawn.data.subarray(n, n + 3), n);
  }
  paper.putImageData(seen, 0, 0);
}

// Where the pen is, for those who draw by keyboard. It is no part of the picture.
function cross(pad, paper) {
  const [x, y] = pad.pen, arm = pad.side / 25;
  Object.assign(paper, { strokeStyle: "#888", lineWidth: 1 });
  paper.strokeRect(x - arm / 2, y - arm / 2, arm, arm);
}

function tell(pad) {
  clearTimeout(pad.resting);
  pad.resting = setTimeout(() => {
    if (!pad.root.isConnected || pad.stroke) return;
    pad.component.setStateValue("picture", blank(pad) ? null : clean(pad).toDataURL("image/png"));
  }, REST);
}

const blank = (pad) => !pad.strokes.length && !pad.before;

// The picture without the mark of the pen, on a canvas that is read from.
function clean(pad) {
  pad.copy ??= Object.assign(document.createElement("canvas"), { width: pad.side, height: pad.side });
  ink(pad, pad.copy.getContext("2d", { willReadFrequently: true }));
  return pad.copy;
}
