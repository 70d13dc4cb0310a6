// The latent map of the app, with pictures that are decoded here. Whatever is picked on it goes to the sliders.

const SLICE = 12; // ms of decoding between two frames of the browser

/** A component's elements under a shadow root of their own, so that styles stay apart. */
function hosted(host, name) {
  const root = host.attachShadow({ mode: "open" });
  root.append(document.getElementById(name).content.cloneNode(true));
  return root;
}

const nextFrame = () => new Promise((done) => requestAnimationFrame(done));

/** The code of a point, by its row. */
const codeOf = (row) => parts.singles(about.codes.subarray(row * lab.z.length, (row + 1) * lab.z.length));

/** What the server does for the map in the app. */
const decodedHere = {
  async images(what, ids) {
    const size = about.shape.reduce((product, side) => product * side, 1), all = new Uint8Array(size * ids.length);
    let end = performance.now() + SLICE;
    for (let row = 0; row < ids.length; row++) {
      all.set(drawn(codeOf(about.ids.indexOf(ids[row]))), row * size);
      if (performance.now() < end) continue;
      await nextFrame();
      end = performance.now() + SLICE;
    }
    return all;
  },
  decode: (z) => drawn(z),
};

const messageOf = (view) => ({
  ...view, head: view.name, version: view.name, name: `${view.name} map`, title: "", points: about[view.points],
  labels: about.labels, ids: about.ids, keep: ["explorer"], first: "", from: decodedHere, real: false, height: 520,
  shape: about.shape, classes: about.classes, colours: about.colours, marks: about.marks,
});

/** The map with its menu. begin: called with a code and where it is from. */
function drawMap(begin) {
  const section = document.getElementById("map"), root = hosted(section.querySelector(".host"), "scatter");
  section.hidden = false;
  for (const each of root.querySelectorAll("[data-act=all], [data-act=clear], .count")) each.hidden = true; // they select
  const map = parts.scatter(root.querySelector(".map"));
  map.choose = (rows) => (map.redraw(), rows.length && begin(...meanOf(rows)));
  map.click = (px, py) => {
    map.hover(px, py);
    const { x, y, point } = map.pointer ?? {};
    if (point >= 0) map.choose([point]);
    else if (map.canDecode()) {
      const z = map.message.plane.map(([offset, u, v]) => offset + u * x + v * y);
      begin(z, `The place ${written(x)}, ${written(y)} of the map`);
    }
  };
  const show = (view) => {
    map.load(messageOf(view));
    document.getElementById("map-note").textContent = noteOf(view);
    follow(map);
  };
  choose(document.getElementById("placed"), about.maps.map((view) => view.name), (which) => show(about.maps[which]));
  show(about.maps[0]);
  lab.moved.push(() => follow(map));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    map.signs = null; // their edges are in the colour of the paper
    map.dress();
    map.redraw();
  });
}

function noteOf({ plane }) {
  const count = about.labels.length, all = about.images.toLocaleString("en");
  const some = count < about.images ? `${count.toLocaleString("en")} of ${all} test images.` : `${all} test images.`;
  return plane
    ? `${some} The cross is where the sliders stand; an empty place is decoded with all else at its mean.`
    : `${some} Near means alike; how far apart two groups stand says little, and an empty place has no code.`;
}

/** The code of one picked point, or the mean of several; and what that is, in words. */
function meanOf(rows) {
  const mean = new Float64Array(lab.z.length);
  for (const row of rows) codeOf(row).forEach((value, i) => (mean[i] += value / rows.length));
  if (rows.length > 1) return [mean, `The mean code of ${rows.length.toLocaleString("en")} test images`];
  const name = about.classes.length > 1 ? ` of class ${about.classes[about.labels[rows[0]]]}` : "";
  return [mean, `The code of test image ${about.ids[rows[0]] + 1}${name}`];
}

/** The cross stands where the sliders do, as seen on this plane. */
function follow(map) {
  const { plane } = map.message;
  const seen = (axis) => plane.reduce((sum, row, i) => sum + row[axis] * (lab.z[i] - row[0]), 0);
  map.pinned = plane && { x: seen(1), y: seen(2) };
  map.redraw();
}

/** Buttons of which one is pressed; hidden where there is no choice. */
function choose(place, names, changed) {
  const buttons = names.map((name) => Object.assign(make("button", "", name), { type: "button" }));
  place.hidden = names.length < 2;
  place.append(...buttons);
  const press = (button) => {
    markRadios(buttons, (each) => each === button);
    changed(buttons.indexOf(button));
  };
  for (const button of buttons) {
    button.setAttribute("role", "radio");
    button.onclick = () => press(button);
    button.onkeydown = (event) => {
      const next = nextRadio(event, buttons);
      if (next) press(next), next.focus();
    };
  }
  markRadios(buttons, (each) => each === buttons[0]);
}
