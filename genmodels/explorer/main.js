// Puts the page together: the sliders of the app, what they start from, and all that follows them.

const FACES = 12; // classes that have a picture each; of more there is a menu
let started = 0; // how often the sliders have begun anew
let resting = 0;

/** The sliders begin at this code. from: where it comes from, in words. */
function begin(z, from) {
  lab.from = from;
  const start = Array.from(z), strengths = about.directions.map(() => 0);
  const data = { ...about, decoder: "file", token: ++started, start, z: start, strengths, walks: true, original: null };
  parts.latents({ parentElement: sliders, data, setStateValue() {} });
  settle();
}

function settle() {
  clearTimeout(resting);
  for (const each of lab.settled) each();
  tell();
}

// The sliders ask for a picture of each code that they come to, and so the page hears where they stand.
function heard(z) {
  lab.z = Float32Array.from(z);
  for (const each of lab.moved) each();
  clearTimeout(resting);
  resting = setTimeout(settle, REST);
}

/** What is seen, in words: where it comes from, the class that is nearest, and how much of it is ink. */
function tell() {
  const image = drawn(lab.z), dark = image.reduce((count, value) => count + (value < 128), 0) / image.length;
  const words = [`${lab.from}${started && moved() ? ", moved" : ""}.`], near = nearestClass();
  if (about.asked) words.push(`Asked for: ${about.classes[lab.label]}.`);
  if (near) words.push(`The middle of class ${near.name} is nearest, ${written(near.distance)} away.`);
  words.push(`${Math.round(100 * dark)}% of the picture is darker than middle grey.`);
  document.getElementById("said").textContent = words.join(" ");
  sliders.querySelector(".now canvas").setAttribute("aria-label", `The decoded image now. ${words.join(" ")}`);
}

const moved = () => sliders.querySelector(".all") && !sliders.querySelector(".all").disabled;

function nearestClass() {
  let best = null;
  about.centroids.forEach((row, label) => {
    const distance = row && Math.hypot(...row.map((value, i) => value - lab.z[i]));
    if (row && about.classes.length > 1 && (!best || distance < best.distance)) best = { name: about.classes[label], distance };
  });
  return best;
}

const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());

/** A button for each class, with its picture; of many classes a menu. code: of a class. go: called with the one chosen. */
function drawClasses(words, labels, code, go) {
  const place = document.getElementById("faces");
  if (labels.length > FACES) return document.getElementById("starts").append(chooserOf(words, labels, go));
  const faces = labels.map((label) => {
    const title = `${words} ${about.classes[label]}`, button = Object.assign(make("button"), { type: "button", title });
    button.setAttribute("aria-label", title);
    button.onclick = () => go(label);
    button.append(pictureOf(32), make("span", "", about.classes[label]));
    return button;
  });
  place.append(...faces);
  place.hidden = !faces.length;
  place.setAttribute("aria-label", words);
  const repaint = () => labels.forEach((label, i) => paint(faces[i].firstChild, code(label), label));
  repaint();
  if (about.asked) lab.settled.push(repaint);
}

/** A menu in which nothing is chosen yet. */
function chooserOf(words, labels, go) {
  const menu = menuOf(words, labels, -1, go);
  const none = Object.assign(new Option("choose", "", true, true), { disabled: true });
  menu.querySelector("select").prepend(none);
  return menu;
}

/** What the sliders can start from. */
function drawStarts() {
  const place = document.getElementById("starts"), encodes = about.maps.length > 0;
  const add = (words, act) => place.append(Object.assign(make("button", "", words), { type: "button", onclick: act }));
  const random = encodes ? "Random code" : "New noise";
  if (encodes) add("Mean code", () => begin(about.start, "The mean code of all test images"));
  add(random, () => begin(about.centre.map((centre, i) => centre + about.spread[i] * normal()), random));
  const known = about.centroids.flatMap((row, label) => (row && about.classes.length > 1 ? [label] : []));
  const middle = (label) => begin(about.centroids[label], `The middle of class ${about.classes[label]}`);
  if (known.length) drawClasses("Middle of class", known, (label) => about.centroids[label], middle);
  if (about.asked) drawClasses("Draw a", [...about.classes.keys()], () => lab.z, (label) => {
    lab.label = label;
    globalThis.dispatchEvent(new Event("latent-decoder"));
    settle();
  });
}

/** The text of the settings, to be pasted elsewhere; where the clipboard is closed it is selected. */
async function copy() {
  const text = document.getElementById("json"), said = document.getElementById("copied");
  try {
    await navigator.clipboard.writeText(text.textContent);
    said.textContent = "Copied.";
  } catch {
    getSelection().selectAllChildren(text);
    said.textContent = "Selected: press Ctrl+C to copy.";
  }
}

globalThis.latentLab = { decoders: new Map([["file", (z) => (heard(z), Float32Array.from(parts.decode(layers, z, lab.label)))]]) };
const sliders = hosted(document.querySelector("#code .host"), "latents");
document.getElementById("code").hidden = false;
document.getElementById("ordered").textContent = about.ordered;
document.getElementById("copy").onclick = copy;
drawStarts();
begin(about.start, about.maps.length ? "The mean code of all test images" : "Noise");
if (about.maps.length) drawMap(begin);
drawGrid(begin);
drawTour(begin);
document.documentElement.dataset.ready = "";
