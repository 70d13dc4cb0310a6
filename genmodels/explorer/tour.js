// From the middle of one class to that of another, straight or on an arc, as genmodels/analysis/transitions.py goes.

const FRAMES = 60, SECONDS = 3, STILLS = 9;

/** r(d) = o + d (p - o). */
const straight = (o, p, d) => o.map((value, i) => value + d * (p[i] - value));

/** The arc around `centre` whose radius goes linearly from that of o to that of p; null where no single one joins them. */
function spherical(o, p, d, centre) {
  const a = o.map((value, i) => value - centre[i]), b = p.map((value, i) => value - centre[i]);
  const near = Math.hypot(...a), far = Math.hypot(...b);
  if (Math.min(near, far) < 1e-6 * Math.max(1, near, far)) return null;
  const apart = Math.hypot(...a.map((value, i) => value / near - b[i] / far));
  const angle = 2 * Math.atan2(apart, Math.hypot(...a.map((value, i) => value / near + b[i] / far)));
  if (Math.PI - angle < 1e-3) return null;
  const share = angle < 1e-6 ? [1 - d, d] : [Math.sin((1 - d) * angle) / Math.sin(angle), Math.sin(d * angle) / Math.sin(angle)];
  const radius = (1 - d) * near + d * far;
  return centre.map((middle, i) => middle + radius * ((share[0] * a[i]) / near + (share[1] * b[i]) / far));
}

/** The code at a share d of the way. */
function onTheWay(tour, d) {
  const [o, p] = [about.centroids[tour.from], about.centroids[tour.to]];
  return (tour.arc && spherical(o, p, d, about.centre)) || straight(o, p, d);
}

function drawTour(begin) {
  const known = about.centroids.flatMap((row, label) => (row ? [label] : []));
  if (known.length < 2) return;
  const section = document.getElementById("tour"), tour = { section, from: known[0], to: known[1], arc: false, at: 0, playing: 0 };
  section.hidden = false;
  section.querySelector(".choices").append(
    menuOf("From", known, tour.from, (label) => turn(tour, { from: label })),
    menuOf("To", known, tour.to, (label) => turn(tour, { to: label })),
  );
  const path = make("span", "radios");
  path.setAttribute("role", "radiogroup");
  path.setAttribute("aria-label", "Path");
  section.querySelector(".choices").append(path);
  choose(path, ["Straight", "Spherical"], (which) => turn(tour, { arc: which === 1 }));
  stageOf(tour, begin);
  turn(tour, {});
}

function menuOf(words, known, first, changed) {
  const whole = make("span", "menu"), id = `menu-${words.replaceAll(" ", "-")}`;
  const menu = Object.assign(make("select"), { id, onchange: () => changed(Number(menu.value)) });
  menu.append(...known.map((each) => new Option(about.classes[each], each, false, each === first)));
  whole.append(Object.assign(make("label", "", words), { htmlFor: id }), menu);
  return whole;
}

/** The picture, the slider, the buttons and the row of stills. */
function stageOf(tour, begin) {
  const place = tour.section.querySelector(".stage"), controls = make("div", "way");
  tour.picture = pictureOf(168, "The picture on the way");
  tour.slider = Object.assign(make("input"), { type: "range", min: 0, max: FRAMES, step: 1, value: 0 });
  tour.slider.setAttribute("aria-label", "Place on the way");
  tour.slider.oninput = () => (halt(tour), go(tour, Number(tour.slider.value)));
  tour.play = Object.assign(make("button", "", ""), { type: "button", onclick: () => play(tour) });
  const take = Object.assign(make("button", "", "Take it to the sliders"), { type: "button" });
  take.onclick = () => begin(Float32Array.from(onTheWay(tour, tour.at / FRAMES)), wordsOf(tour));
  tour.said = make("p", "small");
  const buttons = make("div", "row");
  buttons.append(tour.play, take);
  controls.append(tour.slider, buttons, tour.said);
  place.append(tour.picture, controls);
  const words = (i) => `${Math.round((100 * i) / (STILLS - 1))}% of the way`;
  tour.stills = Array.from({ length: STILLS }, (_, i) => pictureOf(innerWidth < 600 ? 28 : 56, words(i)));
  tour.section.querySelector(".strip").append(...tour.stills);
  label(tour);
}

function turn(tour, changed) {
  Object.assign(tour, changed);
  tour.stills.forEach((canvas, i) => paint(canvas, onTheWay(tour, i / (STILLS - 1))));
  go(tour, tour.at);
}

function wordsOf(tour) {
  const names = [tour.from, tour.to].map((each) => about.classes[each]), share = Math.round((100 * tour.at) / FRAMES);
  const bent = tour.arc && !spherical(about.centroids[tour.from], about.centroids[tour.to], 0.5, about.centre);
  return `${share}% of the way from ${names[0]} to ${names[1]}${bent ? "; no single arc joins them, so it is straight" : ""}`;
}

function go(tour, at) {
  tour.at = at;
  paint(tour.picture, onTheWay(tour, at / FRAMES));
  const words = wordsOf(tour);
  tour.slider.value = at;
  tour.slider.setAttribute("aria-valuetext", words);
  tour.picture.setAttribute("aria-label", `The picture ${words}`);
  tour.said.textContent = `${words}.`;
}

/** There and back; where motion is not wanted, each press is a tenth of the way. */
function play(tour) {
  if (calm.matches) return go(tour, (tour.at + FRAMES / 10) % (FRAMES + FRAMES / 10));
  if (tour.playing) return halt(tour);
  const began = performance.now() - (tour.at / FRAMES) * SECONDS * 1000;
  const tick = (now) => {
    const share = (Math.max(0, now - began) / 1000 / SECONDS) % 2;
    go(tour, Math.round(FRAMES * (share > 1 ? 2 - share : share)));
    tour.playing = requestAnimationFrame(tick);
  };
  tour.playing = requestAnimationFrame(tick);
  label(tour);
}

function halt(tour) {
  cancelAnimationFrame(tour.playing);
  tour.playing = 0;
  label(tour);
}

function label(tour) {
  tour.play.textContent = calm.matches ? "One step" : tour.playing ? "❚❚ Pause" : "▶ Play";
}
