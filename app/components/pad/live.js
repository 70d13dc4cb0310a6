// What a route makes of the drawing, painted while one draws: one request at a time, and after it the newest drawing if
// there is a newer one.
//
// live: {route, shape, names, says}: names of the images that the route answers with, (n, C, H, W); says: words before
// the difference between the first image and the third, where there is one.

const ROOM = 226; // CSS pixels of an image at most, with its frame
const LEAST = 96; // and at least, where they stand beside each other
const GAP = 12; // between them, as in the style sheet

// Called again when the page names another route.
function follow(pad, live) {
  const known = JSON.stringify(live);
  if (!live || pad.following === known) return;
  Object.assign(pad, { live, following: known });
  const place = pad.root.querySelector(".results");
  pad.results = live.names.map((name) => {
    const canvas = Object.assign(make("canvas"), { width: live.shape[2], height: live.shape[1] });
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", name);
    const figure = make("figure");
    figure.append(canvas, make("figcaption", "", name));
    return { canvas, figure };
  });
  place.replaceChildren(...pad.results.map(({ figure }) => figure));
  pad.root.querySelector(".live").hidden = false;
  pad.observer ??= new ResizeObserver(() => fitResults(pad));
  pad.observer.observe(pad.root);
  fitResults(pad);
  ask(pad);
}

// Enlarged by whole factors: beside each other where there is room for it, else one below the other.
function fitResults({ root, results, live: { shape } }) {
  const room = root.querySelector(".live").clientWidth, each = (room - GAP * (results.length - 1)) / results.length;
  const most = Math.min(ROOM, each >= LEAST ? each : room) - 2; // their frame
  const factor = Math.max(1, Math.floor(most / Math.max(shape[1], shape[2])));
  for (const { canvas, figure } of results) {
    canvas.style.width = figure.style.width = `${factor * shape[2]}px`;
    canvas.style.height = `${factor * shape[1]}px`;
  }
}

async function ask(pad) {
  if (!pad.live) return;
  pad.stale = true;
  if (pad.asking) return;
  pad.asking = true;
  while (pad.stale && pad.root.isConnected) {
    pad.stale = false;
    const { live } = pad, empty = blank(pad);
    const found = empty ? null : await bytesOf(live.route, { method: "POST", body: grey(pad) }).catch((error) => error);
    if (live !== pad.live) pad.stale = true;
    else if (found instanceof Error) pad.root.querySelector(".wrong").textContent = found.message;
    else if (empty === blank(pad)) paint(pad, found);
  }
  pad.asking = false;
}

// uint8 (side, side), as the route wants it.
function grey(pad) {
  const { data } = clean(pad).getContext("2d").getImageData(0, 0, pad.side, pad.side);
  return Uint8Array.from({ length: data.length / 4 }, (_, n) => (data[4 * n] + data[4 * n + 1] + data[4 * n + 2]) / 3);
}

// images: uint8 (n, C, H, W), or null where nothing is drawn.
function paint({ root, results, live: { shape, says } }, images) {
  results.forEach(({ canvas }, n) => {
    if (images) putPixels(canvas, pixelsOf(images, shape, n));
    else canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
  });
  root.querySelector(".wrong").textContent = "";
  const words = images && says ? `${says} ${(100 * apart(images, shape)).toFixed(1)}%.` : "";
  root.querySelector(".said").textContent = words;
}

// The mean absolute difference of a pixel between the first image and the third, as a share of the full range.
function apart(images, shape) {
  const size = shape[0] * shape[1] * shape[2];
  let sum = 0;
  for (let n = 0; n < size; n++) sum += Math.abs(images[n] - images[2 * size + n]);
  return sum / size / 255;
}
